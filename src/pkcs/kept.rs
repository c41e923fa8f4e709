//! What a row keeps of a PKCS request: the plan, the one key pair and its CSR, how far it came with the CA, and the certificate.

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::step::{Abilities, Machine, Mark};
use crate::flow::plan;
use crate::flow::record::{RecordReader, RecordWriter};
use crate::ids::CaName;
use crate::ports::{CertificatePlan, Issued};
use crate::secret::{PrivateKeyPkcs8, SecretBytes};
use crate::time::Timestamp;

/// Beside those of a plan (20 to 27). They never change: old rows must be read.
mod field {
    pub(super) const PRIVATE_KEY: u8 = 1;
    pub(super) const PUBLIC_KEY: u8 = 2;
    pub(super) const CSR: u8 = 3;
    pub(super) const MARK: u8 = 4;
    pub(super) const POLL_ID: u8 = 5;
    pub(super) const EARLIER: u8 = 6;
    pub(super) const SUSPECTED: u8 = 7;
    pub(super) const CERTIFICATE: u8 = 8;
    pub(super) const CHAIN: u8 = 9;
    pub(super) const CA_SIDE_ID: u8 = 10;
    pub(super) const KEY: u8 = 11;
    pub(super) const CA: u8 = 12;
}

/// What is made once for a request and kept over all attempts and processes: a repeated ask is for the same key and the same CSR.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) plan: CertificatePlan,
    pub(super) key: PrivateKeyPkcs8,
    pub(super) public_key: Vec<u8>,
    pub(super) csr: CertificateSigningRequestDer<'static>,
}

/// The record of a request that has its key pair.
pub(super) fn write(made: &Made, machine: &Machine, issued: Option<&Issued>) -> RecordWriter {
    let chain = issued.map_or(0, |issued| issued.certificate.len() + issued.chain.iter().map(|issuer| issuer.len()).sum::<usize>());
    let mut w = RecordWriter::with_capacity(2_048 + made.key.secret_pkcs8_der().len() + made.public_key.len() + made.csr.len() + chain);
    plan::encode(&mut w, &made.plan);
    let mark = machine.mark();
    w.field(field::PRIVATE_KEY, made.key.secret_pkcs8_der())
        .field(field::PUBLIC_KEY, &made.public_key)
        .field(field::CSR, &made.csr)
        .field(field::MARK, &[mark.number()])
        .field(field::EARLIER, &i64::from(machine.earlier).to_be_bytes())
        .optional(field::SUSPECTED, machine.orphan_suspected.then_some(&[1][..]));
    if let Mark::Pending(poll_id) = &mark {
        w.field(field::POLL_ID, poll_id.as_bytes());
    }
    if let Some(issued) = issued {
        w.field(field::CERTIFICATE, &issued.certificate).optional(field::CA_SIDE_ID, issued.ca_side_id.as_deref().map(str::as_bytes));
        for issuer in &issued.chain {
            w.field(field::CHAIN, issuer);
        }
    }
    w
}

/// A request as it was kept.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) made: Made,
    pub(super) machine: Machine,
    pub(super) issued: Option<Issued>,
}

/// Reads what [`write`] wrote; `None` when it is not whole.
pub(super) fn read(record: &SecretBytes, ca: CaName, abilities: Abilities, find_first: bool, now: Timestamp) -> Option<Restored> {
    let r = RecordReader::new(SecretBytes::copy_from(record.secret_bytes()));
    let made = Made {
        plan: plan::decode(&r, ca)?,
        key: PrivateKeyPkcs8::new(r.get(field::PRIVATE_KEY)?.to_vec()),
        public_key: r.get(field::PUBLIC_KEY)?.to_vec(),
        csr: CertificateSigningRequestDer::from(r.get(field::CSR)?.to_vec()),
    };
    let issued = r.get(field::CERTIFICATE).map(|certificate| {
        let chain = r.fields().filter(|(number, _)| *number == field::CHAIN).map(|(_, der)| CertificateDer::from(der.to_vec())).collect();
        let issued = Issued::new(CertificateDer::from(certificate.to_vec())).with_chain(chain);
        match r.text(field::CA_SIDE_ID) {
            Some(id) => issued.with_ca_side_id(id),
            None => issued,
        }
    });
    let mark = Mark::of(*r.get(field::MARK)?.first()?, r.text(field::POLL_ID))?;
    let mut machine = Machine::restored(abilities, find_first, mark, issued.is_some(), now);
    machine.earlier = machine.earlier.saturating_add(u32::try_from(r.integer(field::EARLIER)?).ok()?);
    machine.orphan_suspected |= r.get(field::SUSPECTED).is_some();
    Some(Restored { made, machine, issued })
}

/// What is watched at a CA: a request that may have led to certificates which nobody gets.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) ca: CaName,
    pub(super) key: crate::ids::IdempotencyKey,
    pub(super) plan: CertificatePlan,
    pub(super) public_key: Vec<u8>,
    pub(super) csr: CertificateSigningRequestDer<'static>,
    /// A certificate that is known, and could not be revoked.
    pub(super) known: Option<Issued>,
}

impl Suspect {
    pub(super) fn write(made: &Made, ca: &CaName, key: crate::ids::IdempotencyKey, known: Option<&Issued>) -> RecordWriter {
        let mut w = RecordWriter::with_capacity(2_048 + made.public_key.len() + made.csr.len());
        plan::encode(&mut w, &made.plan);
        w.field(field::PUBLIC_KEY, &made.public_key)
            .field(field::CSR, &made.csr)
            .field(field::KEY, key.as_bytes())
            .field(field::CA, ca.as_str().as_bytes());
        if let Some(issued) = known {
            w.field(field::CERTIFICATE, &issued.certificate).optional(field::CA_SIDE_ID, issued.ca_side_id.as_deref().map(str::as_bytes));
        }
        w
    }

    pub(super) fn read(r: &RecordReader) -> Option<Self> {
        let ca: CaName = r.text(field::CA)?.parse().ok()?;
        Some(Self {
            plan: plan::decode(r, ca.clone())?,
            ca,
            key: crate::ids::IdempotencyKey::new(r.get(field::KEY)?.try_into().ok()?),
            public_key: r.get(field::PUBLIC_KEY)?.to_vec(),
            csr: CertificateSigningRequestDer::from(r.get(field::CSR)?.to_vec()),
            known: r.get(field::CERTIFICATE).map(|der| {
                let issued = Issued::new(CertificateDer::from(der.to_vec()));
                match r.text(field::CA_SIDE_ID) {
                    Some(id) => issued.with_ca_side_id(id),
                    None => issued,
                }
            }),
        })
    }
}
