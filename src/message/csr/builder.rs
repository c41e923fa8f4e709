//! Builds certification requests.

use zeroize::Zeroizing;

use crate::codec::der::write;
use crate::codec::pkcs10::{CHALLENGE_PASSWORD, EXTENSION_REQUEST};
use crate::codec::x509::{extensions as ext, string};
use crate::crypto::SignatureAlgorithm;
use crate::ids::{Oid, Sid, TemplateName};
use crate::message::algorithm::PublicKeyAlgorithm;
use crate::message::certificate::ExtensionPlan;
use crate::message::name::Name;
use crate::message::{ToBeSigned, X509Error};
use crate::secret::Password;
use crate::terms::{KeyUsage, SubjectAltName, oid};

/// Builds a PKCS#10 certification request.
#[derive(Debug)]
pub struct CsrBuilder {
    subject: Name,
    spki: Vec<u8>,
    plan: ExtensionPlan,
    challenge: Option<Password>,
}

impl CsrBuilder {
    /// A request for the key in `spki` (SubjectPublicKeyInfo DER).
    #[must_use]
    pub fn new(subject: Name, spki: &[u8]) -> Self {
        Self { subject, spki: spki.to_vec(), plan: ExtensionPlan::default(), challenge: None }
    }

    /// Asks for these names; none when empty.
    #[must_use]
    pub fn subject_alt_names(mut self, names: &[SubjectAltName]) -> Self {
        self.plan.subject_alt_names = names.to_vec();
        self
    }

    /// Asks for these extended key usages; none when empty.
    #[must_use]
    pub fn extended_key_usage(mut self, purposes: &[Oid]) -> Self {
        self.plan.extended_key_usage = purposes.to_vec();
        self
    }

    /// Asks for this key usage.
    #[must_use]
    pub fn key_usage(mut self, usage: KeyUsage) -> Self {
        self.plan.key_usage = Some(usage);
        self
    }

    /// Asks for the SID extension 1.3.6.1.4.1.311.25.2.
    #[must_use]
    pub fn sid(mut self, sid: Option<Sid>) -> Self {
        self.plan.sid = sid;
        self
    }

    /// Adds a challengePassword: PrintableString when its alphabet allows, else UTF8String (RFC 2985 section 5.4.1).
    #[must_use]
    pub fn challenge_password(mut self, challenge: &Password) -> Self {
        self.challenge = Some(Password::new(challenge.secret_bytes().to_vec()));
        self
    }

    /// Names a template of AD CS by the extension 1.3.6.1.4.1.311.20.2.
    #[must_use]
    pub fn template(self, template: &TemplateName) -> Self {
        self.extension(oid(ext::TEMPLATE_NAME), false, &string::encode_bmp(template.as_str()))
    }

    /// Asks for any other extension; `value` is the DER inside extnValue.
    #[must_use]
    pub fn extension(mut self, oid: Oid, critical: bool, value: &[u8]) -> Self {
        self.plan.others.push((oid, critical, value.to_vec()));
        self
    }

    /// What the requester's key has to sign.
    ///
    /// # Errors
    /// [`X509Error::CannotBuild`] when something given cannot be encoded, or the public key is malformed.
    pub fn to_be_signed(&self, algorithm: SignatureAlgorithm) -> Result<ToBeSigned, X509Error> {
        PublicKeyAlgorithm::of_spki(&self.spki).ok_or(X509Error::CannotBuild("the public key is malformed"))?;
        let attribute =
            |number: &'static str, value: &[u8]| write::sequence(&[&write::oid(&oid(number)), &write::value(write::SET, &[value])]);
        let mut attributes = Vec::new();
        if let Some(challenge) = &self.challenge {
            let text = challenge.secret_str().filter(|text| !text.is_empty());
            let text = text.ok_or(X509Error::CannotBuild("the challenge password is empty or not UTF-8"))?;
            attributes.push(Zeroizing::new(attribute(CHALLENGE_PASSWORD, &Zeroizing::new(string::encode_directory_string(text)))));
        }
        let extensions = self.plan.encode(&self.subject)?;
        if !extensions.is_empty() {
            attributes.push(Zeroizing::new(attribute(EXTENSION_REQUEST, &write::sequence_of(&extensions))));
        }
        // A SET OF: sorted (X.690 section 11.6). The field is present even when empty (RFC 2986 section 4.1).
        attributes.sort_by(|one, other| one.as_slice().cmp(other.as_slice()));
        let attributes: Vec<&[u8]> = attributes.iter().map(|attribute| attribute.as_slice()).collect();
        let attributes = Zeroizing::new(write::context(0, &attributes));
        let message = write::sequence(&[&write::unsigned(0), self.subject.as_der(), &self.spki, &attributes]);
        Ok(ToBeSigned::new(message, algorithm))
    }
}
