//! The socket in the store: an engine that is shared answers as one's own, a guest is held as long as it is there and no
//! longer, and nobody at that door harms those inside.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slm::api::local::{Door, Wish, attach};
use slm::api::server::Drain;
use slm::digest::Digest;
use slm::engine::process::AttachError;
use slm::engine::{Engine, EngineError, Event};
use tokio::runtime::Runtime;

use crate::process::{all, bits, long_text, plain, question, spawned, ticks, ticks_when_idle, until};

/// A server with one model, and a count of the guests that it holds.
struct Served {
    folder: tempfile::TempDir,
    engine: Engine,
    n_guests: Arc<AtomicUsize>,
    drain: Drain,
    /// Ends with it.
    runtime: Option<Runtime>,
}

/// One more guest, until it is dropped.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Served {
    fn new() -> Served {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        // As a server has it: in a process of its own, so that a guest's request goes through two sockets.
        let (engine, n_guests, drain) = (spawned(), Arc::<AtomicUsize>::default(), Drain::default());
        let (shared, count) = (engine.clone(), Arc::clone(&n_guests));
        let resolve = move |wish: Wish| {
            let (engine, count) = (shared.clone(), Arc::clone(&count));
            async move {
                match wish.model.as_str() {
                    "triage:latest" => {
                        count.fetch_add(1, Ordering::SeqCst);
                        Ok((engine, Held(count)))
                    }
                    "for ever" => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let _held = Held(count);
                        std::future::pending().await
                    }
                    other => Err(format!("there is no model `{other}`")),
                }
            }
        };
        let entered = runtime.enter();
        let door = Door::open(folder.path()).unwrap();
        runtime.spawn(door.serve(drain.clone(), resolve));
        drop(entered);
        Served { folder, engine, n_guests, drain, runtime: Some(runtime) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".slm-serve.sock")
    }

    fn wish(model: &str) -> Wish {
        Wish {
            model: model.to_owned(),
            digest: Digest::of(b"a manifest"),
            n_ctx: None,
            compute: None,
            keep_alive: None,
        }
    }

    fn attach(&self, model: &str) -> Result<Engine, AttachError> {
        attach(self.folder.path(), Served::wish(model)).unwrap().wait()
    }

    #[track_caller]
    fn holds(&self, n: usize) {
        until("the server holds as many guests as there are", || self.n_guests.load(Ordering::SeqCst) == n);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[test]
fn a_guest_is_answered_as_the_owner_is() {
    let served = Served::new();
    assert_eq!(served.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let guest = served.attach("triage:latest").unwrap();
    served.holds(1);
    assert_eq!(guest.info().evaluation_id, served.engine.info().evaluation_id);
    assert_eq!((guest.pid(), guest.memory()), (None, None));
    for number in 0..5 {
        assert_eq!(bits(guest.score(question(number))), bits(served.engine.score(question(number))));
    }
    let second = served.attach("triage:latest").unwrap();
    served.holds(2);
    drop(guest);
    served.holds(1);
    assert_eq!(second.tokenize(plain("a b")).unwrap(), served.engine.tokenize(plain("a b")).unwrap());
    drop(second);
    served.holds(0);
}

#[test]
fn a_guest_that_goes_cancels_what_it_asked() {
    let served = Served::new();
    let guest = served.attach("triage:latest").unwrap();
    let pid = served.engine.pid().unwrap();
    // Contexts are made with the first request, and are not what is measured.
    assert!(matches!(all(guest.send(long_text(2, 0))).last(), Some(Event::Generated(_))));
    let run = |guest: &Engine| (0..16).map(|seed| guest.send(long_text(800, seed))).collect::<Vec<_>>();
    let before = ticks(pid);
    for events in run(&guest) {
        assert!(matches!(all(events).last(), Some(Event::Generated(_))));
    }
    let whole = ticks(pid) - before;
    let before = ticks(pid);
    let mut running = run(&guest);
    assert!(matches!(running[0].blocking_recv(), Some(Event::Text(_))));
    drop((running, guest));
    served.holds(0);
    let cancelled = ticks_when_idle(pid) - before;
    assert!(cancelled * 3 < whole, "{cancelled} of {whole} hundredths of a second");
    // A guest that leaves while it waits for its engine takes its wish back.
    let waiting = attach(served.folder.path(), Served::wish("for ever")).unwrap();
    served.holds(1);
    drop(waiting);
    served.holds(0);
}

#[test]
fn what_cannot_be_had_says_why() {
    let served = Served::new();
    let refused = |model: &str| served.attach(model).unwrap_err().to_string();
    assert_eq!(refused("nothing"), "there is no model `nothing`");
    served.holds(0);
    let nowhere = tempfile::tempdir().unwrap();
    let no_server = attach(nowhere.path(), Served::wish("triage:latest")).unwrap_err();
    assert_eq!(no_server.kind(), std::io::ErrorKind::NotFound);
    // One server for a store.
    let entered = served.runtime.as_ref().unwrap().enter();
    let second = Door::open(served.folder.path()).unwrap_err().to_string();
    drop(entered);
    let path = served.socket();
    assert_eq!(
        second,
        format!("a server is already listening on the socket `{}`: stop it, or give another path", path.display())
    );
}

#[test]
fn a_server_that_goes_is_missed_at_once() {
    let mut served = Served::new();
    let guest = served.attach("triage:latest").unwrap();
    let running: Vec<_> = (0..3).map(|seed| guest.send(long_text(800, seed))).collect();
    served.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(20));
    let told = "the server that had the model has stopped: the other end has closed the connection; run the command again to load the model here";
    for events in running {
        let Some(Event::Failed(error @ EngineError::Disconnected { .. })) = all(events).pop() else { panic!() };
        assert_eq!(error.to_string(), told);
    }
    assert_eq!(guest.score(question(1)).unwrap_err().to_string(), told);
    let runtime = Runtime::new().unwrap();
    assert!(matches!(runtime.block_on(guest.closed()), EngineError::Disconnected { .. }));
    served.runtime = Some(runtime);
}

#[test]
fn a_drain_lets_nobody_in_and_ends_with_the_last_guest() {
    let served = Served::new();
    let guest = served.attach("triage:latest").unwrap();
    served.drain.begin();
    until("the socket is gone", || !served.socket().exists());
    bits(guest.score(question(1)));
    served.drain.end();
    let runtime = Runtime::new().unwrap();
    assert!(matches!(runtime.block_on(guest.closed()), EngineError::Disconnected { .. }));
    served.holds(0);
}

/// A connection without a client behind it.
fn raw(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Says a build's name, as a frame.
fn hello(stream: &mut UnixStream, build: &[u8]) {
    let length = u32::try_from(build.len() + 1).unwrap().to_le_bytes();
    let text = [&length[..], &[u8::try_from(build.len()).unwrap()], build].concat();
    stream.write_all(&text).unwrap();
}

/// The build that a server says it is.
fn ours(served: &Served) -> Vec<u8> {
    let mut stream = raw(&served.socket());
    hello(&mut stream, b"another");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said[5..].to_vec()
}

#[test]
fn other_builds_are_told_apart_before_anything_else_is_read() {
    let served = Served::new();
    let build = slm::engine::build();
    assert_eq!(String::from_utf8(ours(&served)).unwrap(), format!("{} {}", build.version, build.protocol));
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join(".slm-serve.sock")).unwrap();
    let older = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        hello(&mut stream, b"0.0.1 older");
        let _ = stream.read(&mut [0; 64]);
    });
    let refused = attach(folder.path(), Served::wish("triage:latest")).unwrap().wait().unwrap_err();
    assert_eq!(refused.to_string(), "the server is a different build of slm (`0.0.1 older`)");
    older.join().unwrap();
}

#[test]
fn nonsense_at_the_door_ends_its_own_connection() {
    let served = Served::new();
    let guest = served.attach("triage:latest").unwrap();
    let build = ours(&served);
    let mut first = vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let mut known = u32::try_from(build.len() + 1).unwrap().to_le_bytes().to_vec();
    known.push(u8::try_from(build.len()).unwrap());
    known.extend_from_slice(&build);
    // A length that no frame has; no greeting; a greeting, and then no wish; a greeting, and a length that no frame has.
    let nonsense = [
        vec![0xff; 64],
        std::mem::take(&mut first),
        [known.as_slice(), &[3, 0, 0, 0, 9, 9, 9]].concat(),
        [known.as_slice(), &[0xff; 4]].concat(),
    ];
    for bytes in nonsense {
        let mut stream = raw(&served.socket());
        stream.write_all(&bytes).unwrap();
        let mut said = Vec::new();
        // However it ends, it ends.
        let _ = stream.read_to_end(&mut said);
        assert!(said.len() <= known.len(), "{said:?}");
    }
    bits(guest.score(question(1)));
    drop(guest);
    served.holds(0);
}
