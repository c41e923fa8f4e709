//! What connector and judges say to each other: one question and one answer over a socket, each a length and JSON.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_channel::oneshot;
use intune_connector::ids::{IdempotencyKey, SerialNumber};
use intune_connector::ports::{CertificatePlan, PortError, RequestMeta, ResultItem, RowKey};
use intune_connector::retry::Effect;
use intune_connector::terms::Flow;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// No message is larger: an import has a few kB, a batch of results some hundred.
const MOST: u32 = 16 << 20;
/// A judge answers at once; whoever waits longer is stuck, and its test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    Receive {
        flow: Flow,
        max: usize,
    },
    Complete {
        results: Vec<ResultItem>,
    },
    Issue {
        key: IdempotencyKey,
        csr: Vec<u8>,
        plan: CertificatePlan,
    },
    Status {
        key: IdempotencyKey,
        poll_id: String,
    },
    Find {
        key: IdempotencyKey,
    },
    FindAll {
        key: IdempotencyKey,
    },
    Lookup {
        serial: SerialNumber,
    },
    Revoke {
        serial: SerialNumber,
    },
    /// The next message of a device.
    Knock,
    Answered {
        device: usize,
        status: u16,
        retry_after: Option<Duration>,
        body: Vec<u8>,
    },
    /// A transaction's certificate, by its thumbprint.
    Notified {
        transaction: Vec<u8>,
        thumbprint: String,
    },
    /// The journal has said that it stored these versions.
    Stored {
        rows: Vec<(RowKey, u64)>,
    },
    /// What was delivered so far is in the journal.
    Kept,
    /// The connector stands at this point, for ever.
    Reached {
        point: String,
    },
    /// How often each point was passed.
    Census {
        points: BTreeMap<String, u32>,
    },
    /// Whether there is anything left to do.
    IsOver,
    /// The connector cannot start.
    Refused {
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Items(Vec<Item>),
    Issued {
        certificate: Vec<u8>,
        chain: Vec<u8>,
    },
    Pending {
        poll_id: String,
        after: Duration,
    },
    Certificates(Vec<Vec<u8>>),
    /// The connection breaks.
    Lost,
    Absent,
    CannotTell,
    Revoked {
        before: bool,
    },
    Message {
        device: usize,
        body: Vec<u8>,
    },
    Is(bool),
    Done,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    pub meta: RequestMeta,
    pub body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    Pkcs { account: String },
    Recrypt { payload: Vec<u8> },
    Import { password: Vec<u8>, pfx: Vec<u8> },
    Revoke { serial: SerialNumber },
}

pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    to.write_all(&(bytes.len() as u32).to_be_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}

pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The connector's end.
#[derive(Debug, Clone)]
pub struct Client(PathBuf);

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self(socket.to_owned())
    }

    pub fn call_now(&self, ask: &Ask) -> io::Result<Reply> {
        let stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write(&stream, ask)?;
        read(&stream)
    }

    /// On a thread of its own: the connector has others in hand meanwhile.
    pub async fn call(&self, ask: Ask) -> Result<Reply, PortError> {
        let (done, answer) = oneshot::channel();
        let client = self.clone();
        std::thread::spawn(move || done.send(client.call_now(&ask)).map_err(drop));
        match answer.await {
            Ok(Ok(Reply::Lost)) => {
                Err(PortError::transient("the connection broke after the request was sent").with_effect(Effect::Unknown))
            }
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(PortError::transient(format!("the judge is away: {error}"))),
            Err(_) => Err(PortError::transient("the thread of the call has ended")),
        }
    }
}

/// An answer to another question.
pub fn unexpected(reply: &Reply) -> PortError {
    PortError::rejected(format!("an unexpected answer: {reply:?}"))
}
