//! Reads a request's body within bounds of size and time, and holds that of an answer.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures_util::future::{Either, select};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

/// The body of an answer: some kilobytes in one piece.
#[derive(Debug, Clone, Default)]
pub struct ScepHttpBody(Option<Bytes>);

impl ScepHttpBody {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self(Some(Bytes::from(body)).filter(|body| !body.is_empty()))
    }
}

impl Body for ScepHttpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |body| body.len() as u64))
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLong,
    TooSlow,
    /// The client broke off, or its framing is broken.
    Broken,
}

/// Whether the client says itself that the body is longer than that.
pub(super) fn declares_more_than(headers: &HeaderMap, body: &impl Body, max: usize) -> bool {
    let too_long = |length: &[u8]| {
        let digits = length.trim_ascii();
        let number = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
        // Digits that are no u64 are a length too; what is no number at all was for the HTTP parser to refuse.
        number.map_or(digits.iter().all(u8::is_ascii_digit) && !digits.is_empty(), |number| number > max as u64)
    };
    body.size_hint().lower() > max as u64 || headers.get_all(header::CONTENT_LENGTH).iter().any(|value| too_long(value.as_bytes()))
}

/// The whole body, unless it is longer than `max` bytes or not complete when `deadline` is ready.
pub(super) async fn read<B: Body>(body: B, max: usize, deadline: impl Future<Output = ()> + Unpin) -> Result<Vec<u8>, BodyError> {
    match select(pin!(collect(body, max)), deadline).await {
        Either::Left((read, _)) => read,
        Either::Right(((), _)) => Err(BodyError::TooSlow),
    }
}

async fn collect<B: Body>(body: B, max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = pin!(body);
    // Grows with what comes: a declared length costs the client nothing.
    let mut out = Vec::new();
    loop {
        let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await else { return Ok(out) };
        // What is no data are trailers.
        let Ok(mut data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if data.remaining() > max - out.len() {
            return Err(BodyError::TooLong);
        }
        while data.has_remaining() {
            let taken = data.chunk().len();
            out.extend_from_slice(data.chunk());
            data.advance(taken);
        }
    }
}
