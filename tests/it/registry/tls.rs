//! TLS in front of a server of the tests, with a certificate of our own making, and what a pull says to it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::registry::faulty::{Access, Fault, Faulty, Seen, What};
use crate::registry::package::Package;
use crate::registry::pull::docker_config;
use crate::slm::{Home, triage_gguf};

/// An address that speaks TLS for another that does not. Its threads end with the test process.
struct Tls {
    address: SocketAddr,
    /// What a client has to trust.
    certificate: PathBuf,
}

impl Tls {
    /// `None` where no certificate can be made, and then says that the test is skipped.
    fn before(server: &Faulty, home: &Home) -> Option<Tls> {
        let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| home.path().join(name));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        command.args(["-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"]);
        // What vouches for others cannot be a server.
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&certificate).stdout(Stdio::null()).stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            slm_testing::skipped!("openssl makes no certificate here");
            return None;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = CertificateDer::pem_file_iter(&certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), server.address());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || serve(stream, config, behind));
            }
        });
        Some(Tls { address, certificate })
    }
}

/// One request and its answer; the end of either ends it.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, behind: SocketAddr) -> std::io::Result<()> {
    let mut client = StreamOwned::new(ServerConnection::new(config).expect("a good configuration"), stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    let mut server = TcpStream::connect(behind)?;
    server.write_all(&head)?;
    std::io::copy(&mut server, &mut client)?;
    client.conn.send_close_notify();
    client.flush()
}

#[test]
fn a_certificate_has_to_be_trusted() {
    let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
    let Some(tls) = Tls::before(&server, &home) else { return };
    server.file("m.gguf", triage_gguf(), None);
    let url = format!("https://{}/files/m.gguf", tls.address);
    let said = home.slm(["pull", &url]).ends(1);
    assert!(said.stderr.contains(&tls.address.to_string()) && said.stderr.contains("certificate"), "{}", said.stderr);
    assert_eq!(server.seen().len(), 0);
    home.slm(["pull", &url]).env("SSL_CERT_FILE", &tls.certificate).succeeds();
    assert_eq!(server.n_sent(), triage_gguf().len() as u64);
    assert_eq!(home.slm(["run", "m", "--choices", "one,two", "x"]).succeeds().lines().count(), 1);
}

/// What was said behind TLS is not said again without it.
#[test]
fn no_password_leaves_tls() {
    let (home, package) = (Home::new(), Package::random(1, 100_000, &[]));
    let server = Faulty::serve(&package);
    let Some(tls) = Tls::before(&server, &home) else { return };
    docker_config(&home, &tls.address.to_string(), "me:secret");
    server.access(Access::Basic("me:secret".to_owned()));
    let there = server.host();
    server.faults(move |seen| match (&seen.digest, &seen.authorization, seen.what) {
        (Some(digest), Some(_), What::Blob) => Fault::Redirect(format!("http://{there}/cdn/x/{digest}")),
        _ => Fault::None,
    });
    let source = format!("https://{}/library/m", tls.address);
    home.slm(["pull", &source]).env("SSL_CERT_FILE", &tls.certificate).succeeds();
    package.is_in(&home.models(), &format!("{}/library/m/latest", tls.address));
    assert!(server.n_seen(What::Cdn) > 0);
    let is_told = |seen: &&Seen| seen.what == What::Cdn && seen.authorization.is_some();
    assert_eq!(server.seen().iter().filter(is_told).count(), 0);
}
