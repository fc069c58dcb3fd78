//! A cluster's own certificate authority: the API server's certificate, the kubelet's, and a client certificate
//! for each component. Everything is made anew each time a cluster is.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::site::Site;

/// Who talks to the API server, and as whom: file name, common name, organization.
pub(super) const CLIENTS: [(&str, &str, &str); 6] = [
    ("admin", "admin", "system:masters"),
    // The API server itself, towards the kubelet: logs, exec and port-forward go that way.
    ("apiserver-kubelet", "apiserver-kubelet", "system:masters"),
    (
        "controller-manager",
        "system:kube-controller-manager",
        "dataembassy:bed",
    ),
    ("scheduler", "system:kube-scheduler", "dataembassy:bed"),
    ("proxy", "system:kube-proxy", "dataembassy:bed"),
    ("dns", "system:coredns", "dataembassy:bed"),
];

/// A certificate authority in memory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, in PEM.
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

impl Authority {
    /// A fresh one.
    pub fn make(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// The authority's own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server with these names and addresses.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Certified> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = subject(names.first().copied().unwrap_or("server"), None);
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client: `name` is the user, `group` its group.
    pub fn client(&self, name: &str, group: &str) -> Result<Certified> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, Some(group));
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Result<Certified> {
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certified {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

fn subject(name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject
}

/// Writes all certificates and keys of a cluster into a folder.
pub(super) fn make(site: Site, folder: &Path) -> Result<()> {
    let authority = Authority::make(&format!("{site} cluster"))?;
    fs::write(folder.join("ca.crt"), authority.certificate())?;
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let api = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    write(
        folder,
        "apiserver",
        &authority.server(&api, &[site.node().into(), site.api_service().into(), loopback])?,
    )?;
    write(
        folder,
        "kubelet-server",
        &authority.server(&[site.name()], &[site.node().into()])?,
    )?;
    write(
        folder,
        "kubelet",
        &authority.client(&format!("system:node:{site}"), "system:nodes")?,
    )?;
    for (file, name, group) in CLIENTS {
        write(folder, file, &authority.client(name, group)?)?;
    }
    let service_accounts = KeyPair::generate()?;
    fs::write(
        folder.join("service-accounts.pub"),
        service_accounts.public_key_pem(),
    )?;
    write_key(folder, "service-accounts", &service_accounts.serialize_pem())
}

fn write(folder: &Path, name: &str, certified: &Certified) -> Result<()> {
    fs::write(folder.join(format!("{name}.crt")), &certified.certificate)?;
    write_key(folder, name, &certified.key)
}

fn write_key(folder: &Path, name: &str, key: &str) -> Result<()> {
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, key)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
