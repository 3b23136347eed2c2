//! What the servers of the tests are on: threads of their own for each, and a client to talk to them directly.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use tokio::net::{TcpListener, TcpSocket};

/// Runs a future to its end, from a test that is not one itself.
pub fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(runtime);
    RUNTIME.block_on(future)
}

/// Threads for one server; everything on them ends when it is shut down.
pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("threads")
}

/// A client that goes straight to where it is told, follows nothing and keeps no connection.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        // Another test may have chosen the same already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        builder.pool_max_idle_per_host(0).build().expect("a client")
    });
    &CLIENT
}

/// A socket on a free loopback port. Its connections have small buffers: what a server has sent is then nearly what has
/// arrived.
pub fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(64 << 10).expect("a buffer");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    socket.listen(256).expect("a listening socket")
}
