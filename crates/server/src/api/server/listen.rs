//! Where the server listens: TCP addresses, a Unix socket, or sockets from systemd.

use super::socket::{self, Peer, Stream};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

pub const DEFAULT_PORT: u16 = 11434;
/// The space for a path in a Unix socket's address, its last byte a zero.
const MAX_PATH_BYTES: usize = 107;

/// What a person says to listen at, in `SLM_HOST` or on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error(
        "`{0}` is not an address to listen on: give host:port (for example 127.0.0.1:11434) or unix:/path/of/a/socket"
    )]
    Unknown(String),
    #[error("`{0}` asks for https, which slm does not support: put a TLS proxy in front of it, and give http:// here")]
    Https(String),
    #[error("`{0}` has no socket path: give unix:/path/of/a/socket")]
    NoPath(String),
}

impl FromStr for Bind {
    type Err = BindError;

    /// As Ollama reads `OLLAMA_HOST`: the scheme, the host or the port may be missing. A path after the port is not for us.
    fn from_str(text: &str) -> Result<Bind, BindError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Bind::Unix(path.into()))
            } else {
                Err(BindError::NoPath(text.to_owned()))
            };
        }
        if text.starts_with("https://") {
            return Err(BindError::Https(text.to_owned()));
        }
        let unknown = || BindError::Unknown(text.to_owned());
        let (rest, default_port) = match text.strip_prefix("http://") {
            Some(rest) => (rest.split('/').next().unwrap_or(rest), 80),
            None => (text, DEFAULT_PORT),
        };
        if let Ok(ip) = rest.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Bind::Tcp { host: ip.to_string(), port: default_port });
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| unknown())?),
            None => (rest, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match host {
            // As in Go: no host is every address.
            "" if rest.starts_with(':') => Ok(Bind::Tcp { host: Ipv4Addr::UNSPECIFIED.to_string(), port }),
            "" => Err(unknown()),
            host if host.parse::<IpAddr>().is_ok() || is_name(host) => Ok(Bind::Tcp { host: host.to_owned(), port }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Bind::Tcp { host, port } => write!(f, "{host}:{port}"),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who may open a Unix socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SocketMode {
    #[default]
    Owner,
    /// Its group too.
    Group,
}

impl SocketMode {
    fn bits(self) -> u32 {
        match self {
            SocketMode::Owner => 0o600,
            SocketMode::Group => 0o660,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "`{address}` is in use by another program (Ollama, or another slm serve?): stop it, or listen elsewhere, for \
         example with SLM_HOST=127.0.0.1:11435"
    )]
    Taken { address: String },
    #[error("a server is already listening on the socket `{}`: stop it, or give another path", .path.display())]
    Answered { path: PathBuf },
    #[error("`{}` exists and is not a socket: give another path", .path.display())]
    NoSocket { path: PathBuf },
    #[error("the path of a socket has at most {MAX_PATH_BYTES} bytes, and `{}` has {n_bytes}: give a shorter one", .path.display())]
    PathTooLong { path: PathBuf, n_bytes: usize },
    #[error("`{host}` cannot be resolved: {source}")]
    Unresolved { host: String, source: io::Error },
    #[error("cannot listen on `{address}`: {source}")]
    Failed { address: String, source: io::Error },
    #[error("cannot use socket {number} from systemd: {source}")]
    HandedOver { number: usize, source: io::Error },
}

/// The server's end of a connection, for those who judge what a client calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    Tcp(SocketAddr),
    Unix,
    /// The socket in the store, which is this user's alone.
    Own,
}

/// Sockets at which clients may connect.
#[derive(Debug, Default)]
pub struct Listeners {
    listeners: Vec<Listener>,
    files: Vec<SocketFile>,
    /// The file of the socket that nobody is told of.
    own_file: Option<SocketFile>,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// For the commands of this user, which find it by the store; nobody is told of it.
    Own(UnixListener),
}

/// A connection, and who is at its ends.
pub(super) struct Accepted {
    pub stream: Box<dyn Stream>,
    pub peer: Peer,
    pub local: Local,
}

/// The file of a socket, removed when dropped, if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listeners {
    /// The sockets that systemd has opened for this process, if it has.
    ///
    /// # Errors
    /// One of them is not a socket for connections.
    pub fn handed_over() -> Result<Listeners, ListenError> {
        let mut handed = listenfd::ListenFd::from_env();
        let mut listeners = Listeners::default();
        for number in 0..handed.len() {
            let wrong = |source| ListenError::HandedOver { number, source };
            // A socket of the other family is an error here, and is left in its place.
            if let Ok(Some(listener)) = handed.take_unix_listener(number) {
                listener.set_nonblocking(true).map_err(wrong)?;
                listeners.listeners.push(Listener::Unix(UnixListener::from_std(listener).map_err(wrong)?));
            } else if let Some(listener) = handed.take_tcp_listener(number).map_err(wrong)? {
                listener.set_nonblocking(true).map_err(wrong)?;
                listeners.listeners.push(Listener::Tcp(TcpListener::from_std(listener).map_err(wrong)?));
            }
        }
        Ok(listeners)
    }

    /// Listens at one more.
    ///
    /// # Errors
    /// It is taken, or is not a place to listen at.
    pub async fn add(&mut self, bind: &Bind, mode: SocketMode) -> Result<(), ListenError> {
        match bind {
            Bind::Tcp { host, port } => self.add_tcp(host, *port).await,
            Bind::Unix(path) => {
                let (listener, file) = bind_unix(path, mode)?;
                self.files.push(file);
                self.listeners.push(Listener::Unix(listener));
                Ok(())
            }
        }
    }

    /// Listens at a path for this user's own commands too, whose requests need no key.
    ///
    /// # Errors
    /// As [`bind_unix`].
    pub fn add_own(&mut self, path: &Path) -> Result<(), ListenError> {
        let (listener, file) = bind_unix(path, SocketMode::Owner)?;
        self.own_file = Some(file);
        self.listeners.push(Listener::Own(listener));
        Ok(())
    }

    /// A name that stands for several addresses (`localhost` for both families) is listened at with each of them.
    async fn add_tcp(&mut self, host: &str, port: u16) -> Result<(), ListenError> {
        let unresolved = |source| ListenError::Unresolved { host: host.to_owned(), source };
        let mut port = port;
        for found in tokio::net::lookup_host((host, port)).await.map_err(unresolved)? {
            let address = SocketAddr::new(found.ip(), port);
            if self.addresses().contains(&address) {
                continue;
            }
            let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => ListenError::Taken { address: address.to_string() },
                _ => ListenError::Failed { address: address.to_string(), source },
            })?;
            // Port 0 is any port, and the same for all of a name's addresses.
            port = listener.local_addr().map_or(port, |address| address.port());
            self.listeners.push(Listener::Tcp(listener));
        }
        Ok(())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// The network's addresses among them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |listener: &Listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) | Listener::Own(_) => None,
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// For people: every place, as it can be written in `SLM_HOST`.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let place = |listener: &Listener| match listener {
            Listener::Own(_) => None,
            Listener::Tcp(listener) => {
                Some(listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()))
            }
            Listener::Unix(listener) => {
                let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
                // The name under which it was bound is not where it is now.
                let path = self.files.first().map(|file| file.path.clone()).or(path);
                Some(path.map_or_else(|| "unix".to_owned(), |path| format!("unix:{}", path.display())))
            }
        };
        self.listeners.iter().filter_map(place).collect()
    }

    pub(super) fn into_parts(self) -> (Vec<Listener>, Vec<SocketFile>) {
        (self.listeners, self.files.into_iter().chain(self.own_file).collect())
    }
}

/// Listens at a path, whose file goes with what is given beside the listener.
///
/// # Errors
/// Someone answers there, or it is not a place for a socket.
pub fn bind_unix(path: &Path, mode: SocketMode) -> Result<(UnixListener, SocketFile), ListenError> {
    let n_bytes = path.as_os_str().len();
    if n_bytes > MAX_PATH_BYTES {
        return Err(ListenError::PathTooLong { path: path.to_owned(), n_bytes });
    }
    let failed = |source| ListenError::Failed { address: path.display().to_string(), source };
    // Two that start at once must not both find the socket of a server that has died. A folder that cannot be locked
    // (on some network file systems) leaves that to chance.
    let folder = std::fs::File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    let _ = folder.lock();
    refuse_what_is_there(path)?;
    // Bound beside its place and moved there with its mode set: nobody ever finds it with another one.
    let beside = path.with_extension(format!("{}", std::process::id() % 10_000));
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    let placed = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode.bits()))
        .and_then(|()| std::fs::rename(&beside, path))
        .and_then(|()| std::fs::symlink_metadata(path));
    let inode = placed.inspect_err(|_| drop(std::fs::remove_file(&beside))).map_err(failed)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

/// A socket at which nobody answers is what a server that died has left.
fn refuse_what_is_there(path: &Path) -> Result<(), ListenError> {
    let Ok(there) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(ListenError::NoSocket { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => Err(ListenError::Answered { path: path.to_owned() }),
        Err(source) => Err(ListenError::Failed { address: path.display().to_string(), source }),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// The next connection, whose client may take no bytes of its answer for as long as `patience`.
    pub(super) async fn accept(&self, patience: Duration) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                socket::watch_over(&stream, patience);
                let local = Local::Tcp(stream.local_addr()?);
                Ok(Accepted { stream: Box::new(stream), peer: Peer::Tcp(peer), local })
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Box::new(stream), peer: Peer::Unix, local: Local::Unix })
            }
            Listener::Own(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Box::new(stream), peer: Peer::Unix, local: Local::Own })
            }
        }
    }
}
