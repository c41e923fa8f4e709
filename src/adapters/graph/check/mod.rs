//! What is found out about a PFX before anything is sent: Graph answers a bare 400 to most of it. Bytes in, findings out: no network, no clock.

mod certificate;
mod key;
mod password;
mod problem;

use crate::adapters::graph::purpose::IntendedPurpose;
use crate::adapters::graph::upload::UserPfxCertificate;
use crate::crypto::CryptoProvider;
use crate::event::printable;
use crate::ids::Thumbprint;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::pfx::{self, OpenedPfx};
use crate::message::reencrypt::{LegacyPadding, encrypt_password};
use crate::secret::{Password, SecretBytes};
use crate::time::Timestamp;

pub use key::{ImportKey, ImportKeyError};
pub use password::PasswordEncoding;
pub use problem::{PfxProblem, PfxRefused};

/// What is done about a certificate that is not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strictness {
    /// It is not uploaded.
    #[default]
    Refuse,
    /// It is uploaded with a warning: for encryption certificates that are over, which old mail still needs.
    Warn,
}

/// The checks, with the connector's key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PfxChecks {
    /// Where passwords are encrypted to.
    pub key: ImportKey,
    /// About certificates that are over. Default: refuse.
    pub expired: Strictness,
    /// About certificates that have not begun. Default: refuse.
    pub not_yet_valid: Strictness,
    /// What becomes of passwords that are not ASCII. Default: they are refused.
    pub password_encoding: PasswordEncoding,
    /// Bounds on what a file may cost.
    pub limits: Limits,
}

/// A PFX with what is said of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PfxCandidate<'a> {
    /// The file.
    pub pfx: &'a SecretBytes,
    /// Its password, as text in UTF-8.
    pub password: &'a Password,
    /// Whose it is.
    pub upn: &'a str,
    /// The user's mail address, where it is not the UPN.
    pub mail: Option<&'a str>,
    /// What it is for.
    pub purpose: IntendedPurpose,
    /// The certificate that the file is expected to hold.
    pub thumbprint: Option<Thumbprint>,
}

impl<'a> PfxCandidate<'a> {
    /// A file with its password, its user and its purpose.
    #[must_use]
    pub fn new(pfx: &'a SecretBytes, password: &'a Password, upn: &'a str, purpose: IntendedPurpose) -> Self {
        Self { pfx, password, upn, mail: None, purpose, thumbprint: None }
    }

    /// Sets the user's mail address.
    #[must_use]
    pub fn with_mail(mut self, mail: Option<&'a str>) -> Self {
        self.mail = mail;
        self
    }

    /// Sets the certificate that the file is expected to hold.
    #[must_use]
    pub fn with_thumbprint(mut self, thumbprint: Option<Thumbprint>) -> Self {
        self.thumbprint = thumbprint;
        self
    }
}

/// A PFX that passed the checks.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedPfx {
    /// SHA-1 of the certificate that belongs to the private key.
    pub thumbprint: Thumbprint,
    /// The certificate.
    pub certificate: Certificate,
    /// What is odd, and did not stop it.
    pub warnings: Vec<PfxProblem>,
    upn: String,
    purpose: IntendedPurpose,
    key: ImportKey,
    encrypted_password: Vec<u8>,
}

impl PfxChecks {
    /// The strict ones.
    #[must_use]
    pub fn new(key: ImportKey) -> Self {
        Self {
            key,
            expired: Strictness::default(),
            not_yet_valid: Strictness::default(),
            password_encoding: PasswordEncoding::default(),
            limits: Limits::default(),
        }
    }

    /// Sets what is done about certificates that are over.
    #[must_use]
    pub fn with_expired(mut self, strictness: Strictness) -> Self {
        self.expired = strictness;
        self
    }

    /// Sets what is done about certificates that have not begun.
    #[must_use]
    pub fn with_not_yet_valid(mut self, strictness: Strictness) -> Self {
        self.not_yet_valid = strictness;
        self
    }

    /// Sets what becomes of passwords that are not ASCII.
    #[must_use]
    pub fn with_password_encoding(mut self, encoding: PasswordEncoding) -> Self {
        self.password_encoding = encoding;
        self
    }

    /// Sets the bounds on what a file may cost.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks a PFX, and encrypts its password to the connector's key. CPU work: opening a PFX may take a second.
    ///
    /// # Errors
    /// [`PfxRefused`] with everything that is wrong, not the first thing alone.
    pub fn run(&self, candidate: &PfxCandidate<'_>, provider: &CryptoProvider, now: Timestamp) -> Result<CheckedPfx, PfxRefused> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        if !is_upn(candidate.upn) {
            problems.push(PfxProblem::UserPrincipalName);
        }
        match candidate.purpose {
            IntendedPurpose::Vpn => problems.push(PfxProblem::PurposeUnsupported(candidate.purpose)),
            IntendedPurpose::Unassigned => warnings.push(PfxProblem::PurposeUnassigned),
            _ => {}
        }
        let password = self.password(candidate.password, provider).map_err(|problem| problems.push(problem)).ok();
        let found = identity(candidate, provider, &self.limits).map_err(|problem| problems.push(problem)).ok();
        let thumbprint = found.as_ref().map(|(_, thumbprint)| *thumbprint);
        if let Some((certificate, thumbprint)) = &found {
            if let Some(expected) = candidate.thumbprint.filter(|expected| expected != thumbprint) {
                problems.push(PfxProblem::OtherCertificate { expected, found: *thumbprint });
            }
            self.validity(certificate, now, &mut problems, &mut warnings);
            certificate::judge(certificate, candidate, &mut problems, &mut warnings);
        }
        match (found, password) {
            (Some((certificate, thumbprint)), Some(encrypted_password)) if problems.is_empty() => Ok(CheckedPfx {
                thumbprint,
                certificate,
                warnings,
                upn: candidate.upn.to_owned(),
                purpose: candidate.purpose,
                key: self.key.clone(),
                encrypted_password,
            }),
            _ => Err(PfxRefused { problems, warnings, thumbprint }),
        }
    }

    /// The password, encrypted.
    fn password(&self, password: &Password, provider: &CryptoProvider) -> Result<Vec<u8>, PfxProblem> {
        let encoded = self.password_encoding.encode(password)?;
        let max = self.key.max_password_len();
        if encoded.secret_bytes().len() > max {
            return Err(PfxProblem::PasswordTooLong { max });
        }
        encrypt_password(provider, self.key.public().spki(), self.key.padding(), LegacyPadding::Refuse, &encoded)
            .map_err(|error| PfxProblem::Provider(printable(&error.to_string())))
    }

    fn validity(&self, certificate: &Certificate, now: Timestamp, problems: &mut Vec<PfxProblem>, warnings: &mut Vec<PfxProblem>) {
        let mut add = |strictness, problem| match strictness {
            Strictness::Refuse => problems.push(problem),
            Strictness::Warn => warnings.push(problem),
        };
        if now.as_secs() > certificate.not_after().as_secs() {
            add(self.expired, PfxProblem::Expired(certificate.not_after()));
        }
        if now.as_secs() < certificate.not_before().as_secs() {
            add(self.not_yet_valid, PfxProblem::NotYetValid(certificate.not_before()));
        }
    }
}

impl CheckedPfx {
    /// Whose it is.
    #[must_use]
    pub fn upn(&self) -> &str {
        &self.upn
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> IntendedPurpose {
        self.purpose
    }

    /// The connector's key that the password is encrypted to.
    #[must_use]
    pub fn key(&self) -> &ImportKey {
        &self.key
    }

    /// What Graph is sent: the file that was checked, as it is.
    #[must_use]
    pub fn seal(self, pfx: SecretBytes) -> UserPfxCertificate {
        UserPfxCertificate {
            thumbprint: self.thumbprint,
            intended_purpose: self.purpose,
            user_principal_name: self.upn,
            start: self.certificate.not_before(),
            expiration: self.certificate.not_after(),
            provider_name: self.key.provider_name().to_owned(),
            key_name: self.key.key_name().to_owned(),
            padding_scheme: self.key.padding(),
            pfx,
            encrypted_password: self.encrypted_password,
        }
    }
}

/// Opens the file and finds the certificate of its one private key.
fn identity(candidate: &PfxCandidate<'_>, provider: &CryptoProvider, limits: &Limits) -> Result<(Certificate, Thumbprint), PfxProblem> {
    let opened = pfx::open(candidate.pfx.secret_bytes(), candidate.password, provider, limits)
        .map_err(|error| PfxProblem::DoesNotOpen { kind: error.kind(), message: printable(&error.to_string()) })?;
    let OpenedPfx::MacVerified(opened) = opened else { return Err(PfxProblem::NoMac) };
    let mut found = Vec::new();
    for identity in opened.identities() {
        let unreadable = |error: crate::message::X509Error| PfxProblem::Certificate(printable(&error.to_string()));
        let certificate = Certificate::from_der(&identity.certificate.der, limits).map_err(unreadable)?;
        let thumbprint = certificate.thumbprint(provider).map_err(unreadable)?;
        found.push((certificate, thumbprint));
    }
    match (found.pop(), found.len()) {
        // A second key without a certificate would be handed out, too.
        (Some(one), 0) if opened.keys.len() == 1 => Ok(one),
        (Some(last), _) => {
            Err(PfxProblem::SeveralIdentities { thumbprints: found.iter().map(|(_, thumbprint)| *thumbprint).chain([last.1]).collect() })
        }
        (None, _) => Err(PfxProblem::NoIdentity { keys: opened.keys.len(), certificates: opened.certificates.len() }),
    }
}

/// Something before an `@` and something after it; the rest is Entra's to judge.
pub(in crate::adapters::graph) fn is_upn(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && text.len() <= 1_024
        && !text.chars().any(|character| character.is_whitespace() || crate::ids::is_unprintable(character))
}
