//! The bodies of CertPoll, GetCert and GetCRL: whom a client asks about.

use super::ScepMessageError;
use crate::codec::scep as codec;
use crate::ids::SerialNumber;
use crate::limits::{Budget, Limits};
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::name::Name;

/// Names a pending request in a CertPoll (RFC 8894 section 3.3.3). A server goes by the transactionID instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAndSubject {
    /// The subject of the CA.
    pub issuer: Name,
    /// The subject asked for.
    pub subject: Name,
}

impl IssuerAndSubject {
    /// Of a request to that CA.
    #[must_use]
    pub fn new(issuer: Name, subject: Name) -> Self {
        Self { issuer, subject }
    }

    /// Reads one value; nothing may follow it.
    ///
    /// # Errors
    /// [`ScepMessageError::Content`].
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, ScepMessageError> {
        let wrong = || ScepMessageError::Content("IssuerAndSubject");
        let mut budget = Budget::new(limits);
        budget.check_input(der.len()).map_err(CmsError::from)?;
        let body = codec::IssuerAndSubject::decode(der, &mut budget).map_err(|_| wrong())?;
        let mut name = |der: &[u8]| Name::read(der, &mut budget).map_err(|_| wrong());
        Ok(Self { issuer: name(body.issuer)?, subject: name(body.subject)? })
    }

    /// DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        codec::IssuerAndSubject { issuer: self.issuer.as_der(), subject: self.subject.as_der() }.encode()
    }
}

/// Names a certificate in a GetCert, or the one whose CRL is wanted in a GetCRL (RFC 8894 section 3.3.4, RFC 5652 section 10.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAndSerialNumber {
    /// The subject of the CA.
    pub issuer: Name,
    /// The serial number.
    pub serial: SerialNumber,
}

impl IssuerAndSerialNumber {
    /// A certificate of that CA.
    #[must_use]
    pub fn new(issuer: Name, serial: SerialNumber) -> Self {
        Self { issuer, serial }
    }

    /// The names of a certificate; absent when its serial number is none (RFC 5280 section 4.1.2.2).
    #[must_use]
    pub fn of(certificate: &Certificate) -> Option<Self> {
        Some(Self { issuer: certificate.issuer().clone(), serial: certificate.serial()?.clone() })
    }

    /// Reads one value; nothing may follow it.
    ///
    /// # Errors
    /// [`ScepMessageError::Content`], also for a serial number that is not positive or longer than 20 octets.
    pub fn from_der(der: &[u8], limits: &Limits) -> Result<Self, ScepMessageError> {
        let wrong = || ScepMessageError::Content("IssuerAndSerialNumber");
        let mut budget = Budget::new(limits);
        budget.check_input(der.len()).map_err(CmsError::from)?;
        let body = codec::IssuerAndSerialNumber::decode(der, &mut budget).map_err(|_| wrong())?;
        if body.serial.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(wrong());
        }
        let serial = SerialNumber::from_be_bytes(body.serial).map_err(|_| wrong())?;
        Ok(Self { issuer: Name::read(body.issuer, &mut budget).map_err(|_| wrong())?, serial })
    }

    /// DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let serial = self.serial.as_be_bytes();
        let octets = if serial.first().is_some_and(|first| first & 0x80 != 0) { [&[0], serial].concat() } else { serial.to_vec() };
        codec::IssuerAndSerialNumber { issuer: self.issuer.as_der(), serial: &octets }.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_cert_str(text).unwrap()
    }

    #[test]
    fn bodies_read_back_and_what_follows_is_refused() {
        let limits = Limits::default();
        let asked = IssuerAndSubject::new(name("CN=CA"), name("CN=device,O=Lab"));
        assert_eq!(IssuerAndSubject::from_der(&asked.to_der(), &limits).unwrap(), asked);
        for serial in [&[1][..], &[0x80, 1], &[0x7f; 20]] {
            let asked = IssuerAndSerialNumber::new(name("CN=CA"), SerialNumber::from_be_bytes(serial).unwrap());
            let der = asked.to_der();
            assert_eq!(IssuerAndSerialNumber::from_der(&der, &limits).unwrap(), asked);
            for cut in 0..der.len() {
                assert!(IssuerAndSerialNumber::from_der(&der[..cut], &limits).is_err(), "{cut}");
            }
            let followed = [&der[..], &[0]].concat();
            assert!(matches!(IssuerAndSerialNumber::from_der(&followed, &limits), Err(ScepMessageError::Content(_))));
            assert!(IssuerAndSubject::from_der(&der, &limits).is_err());
        }
        // -1, 0 and 21 octets
        for serial in ["0201ff", "020100", "021501020304050607080910111213141516171819202122"] {
            let serial: Vec<u8> = (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).unwrap()).collect();
            let der = crate::codec::der::write::sequence(&[name("CN=CA").as_der(), &serial]);
            assert!(IssuerAndSerialNumber::from_der(&der, &limits).is_err(), "{serial:?}");
        }
    }
}
