//! The owner with real engines of the model in the binary, and with loads that fail, hang and are counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use slm_engine::{Engine, Load, Weights};
use slm_infer::infer::Defaults;
use slm_values::embedded::TRIAGE;
use slm_values::gguf::Header;

/// The model in the binary, under a name, with a context.
fn order(name: &str, n_ctx: u32) -> Order {
    let header = Header::read(TRIAGE.gguf, TRIAGE.gguf.len() as u64).unwrap();
    let options = Options {
        weights: Weights::Bytes(TRIAGE.gguf.into()),
        weights_id: "triage".to_owned(),
        load: Load::Everything,
        n_ctx: Some(n_ctx),
        compute: Compute::default(),
        footprint: header.footprint(),
    };
    let tenant = Tenant { name: name.parse().unwrap(), digest: Digest::of(name.as_bytes()), adapters: Vec::new() };
    Order { tenant, options, keep_alive: None }
}

/// Another base than [`order`]'s.
fn other(name: &str) -> Order {
    let order = order(name, 256);
    Order { options: Options { weights_id: "other".to_owned(), ..order.options }, ..order }
}

/// Loader that load on threads of this process and count.
fn loader(n_loads: &Arc<AtomicUsize>) -> Loader {
    let n_loads = Arc::clone(n_loads);
    Loader {
        load: Arc::new(move |options, _| {
            n_loads.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { tokio::task::spawn_blocking(|| Engine::load(options)).await.unwrap() })
        }),
        free: Arc::new(slm_engine::memory::available),
        now: SystemTime::now,
    }
}

fn start(settings: Settings) -> (Residents, Arc<AtomicUsize>) {
    let n_loads = Arc::default();
    (Residents::start(settings, loader(&n_loads)), n_loads)
}

fn states(residents: &[Resident]) -> Vec<(Vec<String>, State)> {
    let names = |resident: &Resident| resident.tenants.iter().map(|state| state.tenant.name.to_string()).collect();
    residents.iter().map(|resident| (names(resident), resident.state)).collect()
}

#[tokio::test]
async fn models_of_one_base_share_an_engine_and_have_sessions_of_their_own() {
    let (residents, n_loads) = start(Settings::default());
    let (one, two) = tokio::join!(residents.acquire(order("one", 512)), residents.acquire(order("two", 256)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(n_loads.load(Ordering::Relaxed), 1);
    assert_eq!((one.engine().info().n_ctx, two.engine().info().n_ctx), (512, 512));
    assert!(one.kept_session().is_none());
    let session = one.session(Defaults::default(), None).unwrap();
    assert!(Arc::ptr_eq(&session, &one.kept_session().unwrap()));
    assert!(two.kept_session().is_none());
    let names = vec!["one:latest".to_owned(), "two:latest".to_owned()];
    assert_eq!(states(&residents.list().await), [(names.clone(), State::Answering { n_requests: 2 })]);
    drop((one, two, session));
    let list = residents.list().await;
    assert_eq!(states(&list), [(names, State::Ready)]);
    let left = list[0].tenants[0].expires_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(290) && left <= Duration::from_secs(300), "{left:?}");
    residents.drain(Duration::from_secs(60)).await;
    assert_eq!(residents.list().await.len(), 0);
    assert!(matches!(residents.acquire(order("one", 256)).await, Err(Refusal::Closing)));
}

#[tokio::test]
async fn a_model_goes_when_its_time_is_over_or_somebody_stops_it() {
    let (residents, n_loads) = start(Settings::default());
    let of = |name, keep_alive: &str| Order { keep_alive: Some(keep_alive.parse().unwrap()), ..order(name, 256) };
    drop(residents.acquire(of("short", "50ms")).await.unwrap());
    assert_eq!(residents.list().await.len(), 1);
    tokio::time::timeout(Duration::from_secs(60), async {
        while residents.snapshot().await.n_loaded > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let lease = residents.acquire(of("long", "-1")).await.unwrap();
    let name = "long".parse().unwrap();
    assert_eq!(residents.list().await[0].tenants[0].expires_at, None);
    assert_eq!(residents.unload(&name).await, Some(1));
    assert_eq!(states(&residents.list().await)[0].1, State::Stopping { n_requests: 1 });
    drop(lease);
    assert_eq!(residents.list().await.len(), 0);
    assert_eq!(residents.unload(&name).await, None);
    assert_eq!(n_loads.load(Ordering::Relaxed), 2);
    assert_eq!(residents.snapshot().await.counters.expired, 2);
}

#[tokio::test]
async fn a_load_that_fails_is_told_with_the_engines_words() {
    let (residents, n_loads) = start(Settings::default());
    let broken = || {
        let order = order("broken", 256);
        Order { options: Options { weights: Weights::Bytes(b"no model"[..].into()), ..order.options }, ..order }
    };
    let (one, two) = tokio::join!(residents.acquire(broken()), residents.acquire(broken()));
    let expected = Engine::load(broken().options).unwrap_err().to_string();
    assert_eq!((one.unwrap_err().to_string(), two.unwrap_err().to_string()), (expected.clone(), expected));
    assert_eq!(n_loads.load(Ordering::Relaxed), 1);
    assert_eq!(residents.snapshot().await.counters.load_failures, 1);
}

#[tokio::test]
async fn what_cannot_fit_is_refused_with_both_numbers() {
    let loader = Loader { free: Arc::new(|| Some(1_000_000)), ..loader(&Arc::default()) };
    let residents = Residents::start(Settings::default(), loader);
    let order = order("large", 512);
    let need = size(order.demand().need.least);
    assert_eq!(
        residents.acquire(order).await.unwrap_err().to_string(),
        format!(
            "out of memory: the model needs {need} with a context of 512 tokens, and 1.0 MB can be had with no other model \
             loaded"
        )
    );
}

#[tokio::test]
async fn an_idle_engine_makes_room_for_another() {
    let one = Settings { max_loaded: NonZeroUsize::new(1), ..Settings::default() };
    let (residents, _) = start(one);
    let first = residents.acquire(order("first", 256)).await.unwrap();
    let mut second = Box::pin(residents.acquire(other("second")));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err());
    assert_eq!(residents.snapshot().await.n_waiting, 1);
    drop(first);
    drop(second.await.unwrap());
    assert_eq!(states(&residents.list().await), [(vec!["second:latest".to_owned()], State::Ready)]);
    assert_eq!(residents.snapshot().await.counters.evicted, 1);
}

#[tokio::test]
async fn who_waits_no_more_gives_the_load_up() {
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let load = move |_, given_up: GivenUp| -> futures_util::future::BoxFuture<'static, Result<Engine, EngineError>> {
        let tell = tell.lock().unwrap().take().unwrap();
        Box::pin(async move {
            given_up.await.unwrap();
            tell.send(()).unwrap();
            Err(EngineError::Stopped)
        })
    };
    let loader = Loader { load: Arc::new(load), free: Arc::new(|| None), now: SystemTime::now };
    let residents = Residents::start(Settings::default(), loader);
    let mut acquiring = Box::pin(residents.acquire(order("slow", 256)));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut acquiring).await.is_err());
    let list = residents.list().await;
    assert!(matches!(states(&list)[..], [(_, State::Loading { .. })]), "{list:?}");
    assert_eq!(list[0].tenants[0].tenant.name.to_string(), "slow:latest");
    drop(acquiring);
    told.await.unwrap();
    assert_eq!(residents.list().await.len(), 0);
    let counters = residents.snapshot().await.counters;
    assert_eq!((counters.loads, counters.loads_cancelled, counters.loaded), (1, 1, 0));
}

#[tokio::test]
async fn a_load_without_end_is_given_up() {
    let loader = Loader {
        load: Arc::new(|_, _| Box::pin(std::future::pending())),
        free: Arc::new(|| None),
        now: SystemTime::now,
    };
    let settings = Settings { load_timeout: Duration::from_millis(30), ..Settings::default() };
    let residents = Residents::start(settings, loader);
    assert_eq!(
        residents.acquire(order("slow", 256)).await.unwrap_err().to_string(),
        "cannot load the model: it was not loaded within 30ms"
    );
}

#[tokio::test]
async fn draining_ends_at_its_time_though_somebody_still_answers() {
    let (residents, _) = start(Settings::default());
    let lease = residents.acquire(order("one", 256)).await.unwrap();
    drop(residents.acquire(other("idle")).await.unwrap());
    let mut draining = Box::pin(residents.drain(Duration::from_millis(200)));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut draining).await.is_err());
    assert_eq!(states(&residents.list().await), [(vec!["one:latest".to_owned()], State::Answering { n_requests: 1 })]);
    draining.await;
    assert_eq!(residents.list().await.len(), 0);
    drop(lease);
}

#[test]
fn the_parts_of_an_engine_are_the_whole() {
    let parts = |n_bytes, n_models| (0..n_models).map(|n| part(n_bytes, n_models, n)).collect::<Vec<_>>();
    assert_eq!([parts(11, 3), parts(5, 1), parts(0, 2)], [vec![4, 4, 3], vec![5], vec![0, 0]]);
}
