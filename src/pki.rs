//! Keys and certificates: a CA, servers' certificates under it, and the peers' own. Gives PEM text and the time to
//! renew; does no I/O. Private keys are in [`Issued`] and [`Ca`] only, whose Debug shows none.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::license::MAC_KEY;

/// Long, because apps hold the CA's certificate; a new CA is made when two thirds have passed.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);
/// Servers take a new certificate without a restart.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Clocks of clients may be slow.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// The name in the peers' certificate.
pub const PEER_NAME: &str = "genie-lm-peer";

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// When to make another.
    pub renew_at: Timestamp,
}

/// The operator's CA.
#[derive(Clone)]
pub struct Ca {
    /// Its certificate, which clients trust.
    pub certificate: String,
    key: String,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The names do not fit.
    #[error("cannot make a certificate for {names}: {source}; correct spec.server.hostnames")]
    Names {
        /// The names.
        names: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// The CA does not fit.
    #[error(
        "cannot sign with the CA in the Secret genie-lm-ca: {0}; delete that Secret to have a new CA made"
    )]
    Ca(rcgen::Error),
    /// The CA's Secret lacks a part.
    #[error("the Secret genie-lm-ca has no {0}; delete it to have a new CA made")]
    Missing(&'static str),
    /// Random numbers or signatures failed.
    #[error("cannot make a key: {0}")]
    Crypto(String),
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued(renew at {})", self.renew_at)
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ca(…)")
    }
}

impl Ca {
    /// The CA of these PEM texts.
    pub fn new(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    /// Makes a CA of this common name.
    pub fn generate(name: &str, now: Timestamp) -> Result<Issued, PkiError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let renew_at = set_life(&mut params, now, CA_LIFE);
        let certificate = params.self_signed(&key).map_err(PkiError::Ca)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), renew_at })
    }

    /// Makes a server's certificate for these names (DNS names or IP addresses).
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Issued, PkiError> {
        let bad = |source| PkiError::Names { names: names.join(", "), source };
        let mut params = CertificateParams::new(names).map_err(bad)?;
        params.distinguished_name.push(DnType::CommonName, "genie-lm");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let renew_at = set_life(&mut params, now, LEAF_LIFE);
        let ca_key = KeyPair::from_pem(&self.key).map_err(PkiError::Ca)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, ca_key).map_err(PkiError::Ca)?;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &issuer).map_err(bad)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), renew_at })
    }
}

/// Makes the certificate by which the servers of one Deployment know each other: both ends show it, and trust it alone.
pub fn peer(now: Timestamp) -> Result<Issued, PkiError> {
    let bad = |source| PkiError::Names { names: PEER_NAME.into(), source };
    let mut params = CertificateParams::new([PEER_NAME.to_owned()]).map_err(bad)?;
    params.distinguished_name.push(DnType::CommonName, PEER_NAME);
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let renew_at = set_life(&mut params, now, LEAF_LIFE);
    let key = new_key()?;
    let certificate = params.self_signed(&key).map_err(bad)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), renew_at })
}

/// Random bytes: a MAC key.
pub fn mac_key() -> Result<[u8; MAC_KEY], PkiError> {
    let mut bytes = [0; MAC_KEY];
    getrandom::fill(&mut bytes).map_err(|error| PkiError::Crypto(error.to_string()))?;
    Ok(bytes)
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|error| PkiError::Crypto(error.to_string()))
}

/// Sets the validity; gives the moment at which two thirds of it have passed.
fn set_life(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) -> Timestamp {
    let start = u64::try_from((now - BACKDATE).as_second()).unwrap_or(0);
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(start);
    params.not_after = params.not_before + Duration::from_secs(life.unsigned_abs().as_secs());
    Timestamp::from_second((now + life * 2 / 3).as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_life_have_passed() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let ca = Ca::generate("test", now).unwrap();
        let ca = Ca::new(ca.certificate, ca.key);
        let issued = ca.issue(&["genie-lm".into(), "10.0.0.1".into()], now).unwrap();
        assert_eq!(issued.renew_at, "2030-03-02T00:00:00Z".parse::<Timestamp>().unwrap());
        assert!(!format!("{issued:?} {ca:?}").contains("KEY"));
    }

    #[test]
    fn a_name_that_cannot_be_in_a_certificate_is_the_users_matter() {
        let now = Timestamp::now();
        let ca = Ca::generate("test", now).unwrap();
        let error = Ca::new(ca.certificate, ca.key).issue(&["münchen".into()], now).unwrap_err();
        assert!(matches!(error, PkiError::Names { .. }));
        assert!(error.to_string().contains("spec.server.hostnames"), "{error}");
    }
}
