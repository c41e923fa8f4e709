//! Connections: a bound on their number, deadlines for handshake and header, and an end that lets requests in hand finish.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use intune_connector::adapters::{PeerAddr, ScepHttp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

const MAX_CONNECTIONS: usize = 4_096;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the header of a request, and for an idle connection. Apache's mod_reqtimeout gives a header 20 to 40 s.
const HEADER: Duration = Duration::from_secs(30);
const LAST_REQUESTS: Duration = Duration::from_secs(30);

/// Serves until `stop` is ready, and then what has begun.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, http: ScepHttp, stop: impl Future<Output = ()>) {
    let (places, graceful) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), GracefulShutdown::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        // Those beyond the bound wait in the system's queue.
        let next = async { (places.clone().acquire_owned().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, as a rule: do not spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (tls, http, watcher) = (tls.clone(), http.clone(), graceful.watcher());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, peer, http, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                        connection(stream, peer, http, watcher).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await;
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr, http: ScepHttp, watcher: Watcher) {
    // A router of yours may have other routes beside it; all paths are SCEP's here.
    let router = axum::Router::new().fallback_service(http);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        router.clone().call(request)
    });
    let serving =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEADER).serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is its client's affair.
    let _ = watcher.watch(serving).await;
}
