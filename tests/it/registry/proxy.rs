//! A forward proxy: names that only it knows become servers of the tests, so that hosts may have real names, and it
//! remembers what it was asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::registry::servers::{listen, runtime};

/// A running proxy, ended with all its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Proxy {
    /// A proxy that leads these host names (without a port) to these servers; others get 502.
    pub fn to(hosts: &[(&str, SocketAddr)]) -> Proxy {
        let hosts: Arc<BTreeMap<String, SocketAddr>> =
            Arc::new(hosts.iter().map(|&(name, address)| (name.to_owned(), address)).collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let runtime = runtime();
        let listener = runtime.block_on(async { listen() });
        let address = listener.local_addr().expect("a listening socket has an address");
        let log = Arc::clone(&asked);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, Arc::clone(&hosts), Arc::clone(&log)));
            }
        });
        Proxy { address, asked, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts of all requests so far, as they were written (`name` or `name:port`), in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Leads one request on, and then bytes in both directions: each connection serves one request.
async fn forward(mut client: TcpStream, hosts: Arc<BTreeMap<String, SocketAddr>>, log: Arc<Mutex<Vec<String>>>) {
    let Some((head, rest)) = read_head(&mut client).await else { return };
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return };
    let is_tunnel = method == "CONNECT";
    let (authority, path) = match target.strip_prefix("http://") {
        Some(address) => address.split_at(address.find('/').unwrap_or(address.len())),
        None => (target, ""),
    };
    log.lock().unwrap().push(authority.to_owned());
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    let Some(&address) = hosts.get(name) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        return;
    };
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    let sent = if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    } else {
        let headers = lines.filter(|line| !line.is_empty() && !is_for_one_hop(line));
        let headers: String = headers.map(|line| format!("{line}\r\n")).collect();
        server.write_all(format!("{method} {path} {version}\r\n{headers}connection: close\r\n\r\n").as_bytes()).await
    };
    if sent.is_ok() && server.write_all(&rest).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

fn is_for_one_hop(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default().to_lowercase();
    name == "connection" || name.starts_with("proxy-")
}

/// A request's head, and what was read after it.
async fn read_head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Some((String::from_utf8(read).ok()?, rest));
        }
        if client.read_buf(&mut read).await.ok()? == 0 || read.len() > 1 << 16 {
            return None;
        }
    }
}
