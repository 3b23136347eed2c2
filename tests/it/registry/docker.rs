//! Docker's own registry, as Debian packages it: started on a free loopback port with a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::registry::package::{MANIFEST, Package, digest};
use crate::registry::servers::{http, on_runtime};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// Whom the registry with authentication lets in. The hash is bcrypt's of the password, made by `htpasswd -Bbn`.
pub const USER: &str = "reader";
pub const PASSWORD: &str = "open sesame";
const HTPASSWD: &str = "reader:$2y$05$jx8uoi4ezkGTN7d4xqS5IesIWCRcd5jfSTnYzxZzDjitNk0dYTfr2\n";

/// Who may read and write.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    Everybody,
    /// Only [`USER`] with [`PASSWORD`], by basic authentication.
    OneUser,
}

/// A running registry, ended when dropped.
pub struct DockerRegistry {
    child: Child,
    address: SocketAddr,
    access: Access,
    _folder: tempfile::TempDir,
}

impl DockerRegistry {
    /// Starts one; `None` where the package is not installed, and then says that the test is skipped.
    pub fn start(access: Access) -> Option<DockerRegistry> {
        if !std::path::Path::new(PROGRAM).exists() {
            slm_testing::skipped!("`{PROGRAM}` does not exist (Debian's package docker-registry)");
            return None;
        }
        // A port that was free may be taken before the registry has it.
        let registry = (0..5).find_map(|_| DockerRegistry::try_start(access));
        Some(registry.expect("docker-registry starts"))
    }

    fn try_start(access: Access) -> Option<DockerRegistry> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\nstorage:\n  \
             filesystem: {{rootdirectory: '{}'}}\n  delete: {{enabled: true}}\n",
            path("data")
        );
        if access == Access::OneUser {
            std::fs::write(path("htpasswd"), HTPASSWD).unwrap();
            config += &format!("auth:\n  htpasswd: {{realm: tests, path: '{}'}}\n", path("htpasswd"));
        }
        std::fs::write(path("config.yml"), config).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["serve", &path("config.yml")]).env_clear();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut registry = DockerRegistry { child, address, access, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            if registry.child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(registry)
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Puts a model there under `repository:tag`, by the registry's protocol.
    pub fn upload(&self, repository: &str, tag: &str, package: &Package) {
        let base = format!("http://{}/v2/{repository}", self.address);
        on_runtime(async {
            for (digest, blob) in &package.blobs {
                let begun = self.send(http().post(format!("{base}/blobs/uploads/"))).await;
                let location = begun.headers()["location"].to_str().unwrap().to_owned();
                let joint = if location.contains('?') { '&' } else { '?' };
                let put = http().put(format!("{location}{joint}digest={digest}")).body(blob.clone());
                assert_eq!(self.send(put).await.status(), 201);
            }
            let put = http().put(format!("{base}/manifests/{tag}")).header("content-type", MANIFEST);
            assert_eq!(self.send(put.body(package.manifest.clone())).await.status(), 201);
        });
    }

    /// The manifest that it has under `repository:reference`.
    pub fn manifest(&self, repository: &str, reference: &str) -> Vec<u8> {
        let get = http().get(format!("http://{}/v2/{repository}/manifests/{reference}", self.address));
        on_runtime(async { self.send(get.header("accept", MANIFEST)).await.bytes().await.unwrap().to_vec() })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = match self.access {
            Access::Everybody => request,
            Access::OneUser => request.basic_auth(USER, Some(PASSWORD)),
        };
        request.send().await.unwrap().error_for_status().unwrap()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn gives_back_what_was_put_there_and_lets_in_whom_it_should() {
    for access in [Access::Everybody, Access::OneUser] {
        let Some(registry) = DockerRegistry::start(access) else { return };
        let package = Package::triage();
        registry.upload("library/m", "latest", &package);
        assert_eq!(registry.manifest("library/m", "latest"), package.manifest);
        assert_eq!(registry.manifest("library/m", &digest(&package.manifest)), package.manifest);
        let anonymous = http().get(format!("http://{}/v2/", registry.host()));
        let status = on_runtime(async { anonymous.send().await.unwrap().status() });
        assert_eq!(status, if access == Access::Everybody { 200 } else { 401 });
    }
}
