//! Servers and lines that fail: each way alone, what repairs and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::registry::faulty::{Fault, Faulty, Seen, What};
use crate::registry::judge::{Case, Wanted, judge};
use crate::registry::package::Package;
use crate::slm::Home;

/// Large enough for several ranges.
fn package() -> Package {
    Package::random(1, 9_000_000, &[300_000])
}

/// A fault in the answers to the first `n` requests for the weights.
fn first(package: &Package, n: usize, fault: Fault) -> impl Fn(&Seen) -> Fault + Send + Sync + use<> {
    let (weights, left) = (package.weights(), AtomicUsize::new(n));
    move |seen| {
        let is_weights = seen.what == What::Blob && seen.digest.as_ref() == Some(&weights);
        let one_less = |left: usize| left.checked_sub(1);
        let is_hit = is_weights && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if is_hit { fault.clone() } else { Fault::None }
    }
}

fn always(fault: Fault) -> impl Fn(&Seen) -> Fault + Send + Sync {
    move |seen| if seen.what == What::Blob { fault.clone() } else { Fault::None }
}

fn later(status: u16, retry_after: &str) -> Fault {
    Fault::Later { status, retry_after: retry_after.to_owned() }
}

#[test]
fn what_fails_for_a_while_is_gone_on_with() {
    let package = package();
    let case = |name: &str, fault: Fault| Case::new(name, &package, Wanted::Whole).fault(first(&package, 1, fault));
    let manifest = |name: &str, fault: Fault| {
        Case::new(name, &package, Wanted::Whole)
            .fault(move |seen| if seen.what == What::Manifest && seen.index < 2 { fault.clone() } else { Fault::None })
    };
    let third = Case::new("every third body is cut", &package, Wanted::Whole);
    let third = third.fault(|seen| if seen.index % 3 == 1 { Fault::Cut { after: 500_000 } } else { Fault::None });
    judge(
        "Faults that pass",
        &[
            case("a body is cut in the middle", Fault::Cut { after: 1_000_000 }),
            case("a body is cut before its first byte", Fault::Cut { after: 0 }),
            third,
            case("a connection is reset", Fault::Reset { after: 700_000 }),
            case("a body stands still", Fault::Stall { after: 300_000 }),
            case("a request is never answered", Fault::Silence),
            case("206 with the bytes of another range", Fault::OtherRange { by: 1000 }),
            case("206 that does not say which bytes", Fault::NoContentRange),
            case("206 with more bytes than asked for", Fault::MoreBytes { by: 1000 }),
            case("a length that is too large", Fault::Length(1 << 60)),
            case("416", Fault::Status(416)),
            case("429 with Retry-After 1", later(429, "1")),
            case("429 with a date that has passed", later(429, "Wed, 21 Oct 2015 07:28:00 GMT")),
            case("429 without Retry-After", Fault::Status(429)),
            case("503 with Retry-After 1", later(503, "1")),
            case("503", Fault::Status(503)),
            case("500", Fault::Status(500)),
            case("408", Fault::Status(408)),
            case("the page of a network that wants a login", Fault::Page),
            Case::new("a server without ranges", &package, Wanted::Whole).fault(always(Fault::NoRanges)),
            Case::new("a server without ranges, cut once", &package, Wanted::Whole).fault(|seen| {
                match (seen.what, seen.index) {
                    (What::Blob, 0) => Fault::Cut { after: 2_000_000 },
                    (What::Blob, _) => Fault::NoRanges,
                    _ => Fault::None,
                }
            }),
            Case::new("bodies that never end", &package, Wanted::Whole).fault(always(Fault::Endless)),
            Case::new("a slow line", &package, Wanted::Whole)
                .fault(always(Fault::Slow { bytes_per_second: 2_000_000 })),
            manifest("the manifest: 500 twice", Fault::Status(500)),
            manifest("the manifest: 429 twice", later(429, "1")),
            manifest("the manifest: cut twice", Fault::Cut { after: 100 }),
            manifest("the manifest: reset twice", Fault::Reset { after: 0 }),
        ],
    );
}

#[test]
fn what_does_not_heal_is_a_sentence_and_can_be_gone_on_with() {
    let package = package();
    let case = |name: &str, fault: Fault, words| Case::new(name, &package, Wanted::Refused(words)).fault(always(fault));
    let long = |name: &str, fault: Fault, words| case(name, fault, words).exhausts_patience();
    let manifest = |name: &str, fault: Fault, words| {
        Case::new(name, &package, Wanted::Refused(words))
            .fault(move |seen| if seen.what == What::Manifest { fault.clone() } else { Fault::None })
    };
    judge(
        "Faults that stay",
        &[
            long("every body is cut at once", Fault::Cut { after: 0 }, "was lost"),
            long("every connection is reset", Fault::Reset { after: 0 }, "was lost"),
            case("every body has a wrong byte", Fault::Flip { at: 123_456 }, "damaged in transit"),
            long("every range is another, told", Fault::OtherRange { by: 1000 }, "instead of bytes"),
            case("every range is another, not told", Fault::OtherBytes { by: 1000 }, "damaged in transit"),
            long("every range is larger", Fault::MoreBytes { by: 1000 }, "instead of bytes"),
            long("416 always", Fault::Status(416), "instead of bytes"),
            case("429 for a day", later(429, "86400"), "86400 seconds"),
            long("503 always", Fault::Status(503), "status 503"),
            long("500 always", Fault::Status(500), "status 500"),
            case("404 for a blob", Fault::Status(404), "has no"),
            case("403 for a blob", Fault::Status(403), "status 403"),
            long("a page in place of a blob", Fault::Page, ""),
            manifest("no manifest", Fault::Status(404), "has no `library/m:latest`; check the spelling"),
            manifest("a manifest that may not be read", Fault::Status(403), "status 403"),
            manifest("a web page instead of the manifest", Fault::Page, "the manifest"),
            manifest("a manifest that is cut", Fault::Cut { after: 50 }, "was lost"),
            manifest("a manifest that never ends", Fault::Endless, "1048576"),
            manifest("a manifest of a false length", Fault::Length(1 << 60), "1048576"),
        ],
    );
}

/// A byte that was damaged once: nobody can say which, so all of that blob comes again.
#[test]
fn one_wrong_byte_is_found() {
    let package = package();
    let case = |name: &str, fault: Fault| Case::new(name, &package, Wanted::Either).fault(first(&package, 1, fault));
    judge(
        "Bytes that are wrong once",
        &[
            case("a flipped bit", Fault::Flip { at: 100 }),
            case("the bytes of another range", Fault::OtherBytes { by: 5000 }),
        ],
    );
}

/// The addresses that a registry leads to hold for a few requests, or for a while.
#[test]
fn an_address_that_expires_is_asked_for_again() {
    let package = package();
    for n_uses in [1, 2] {
        let (server, network) = (Faulty::serve(&package), Faulty::serve(&package));
        let (there, tickets) = (network.address(), AtomicUsize::new(0));
        server.faults(move |seen| match &seen.digest {
            Some(digest) => {
                let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                Fault::Redirect(format!("http://{there}/cdn/{ticket}/{digest}?signature=x"))
            }
            None => Fault::None,
        });
        let uses = std::sync::Mutex::new(std::collections::HashMap::new());
        network.faults(move |seen| {
            let mut uses = uses.lock().unwrap();
            let used = uses.entry(seen.path.clone()).or_insert(0);
            *used += 1;
            // Long ranges are cut, so that more requests are needed than a ticket has uses.
            if *used > n_uses { Fault::Status(403) } else { Fault::Cut { after: 1_500_000 } }
        });
        let home = Home::new();
        home.slm(["pull", &server.model()]).succeeds();
        package.is_in(&home.models(), &server.place());
        assert!(server.n_seen(What::Blob) > 2, "it was never asked again");
        let twice = server.n_sent() + network.n_sent() - package.n_bytes();
        assert!(twice < package.n_bytes() / 20, "{twice} bytes came twice");
    }
}

/// A server that names a time is left alone until then.
#[test]
fn a_server_that_names_a_time_is_left_alone_until_then() {
    let package = Package::random(1, 100_000, &[]);
    let server = Faulty::serve(&package);
    let (began, soonest) = (Instant::now(), Arc::new(AtomicU64::new(u64::MAX)));
    let noted = Arc::clone(&soonest);
    server.faults(move |seen| match (seen.what, seen.index) {
        (What::Manifest, 0) => later(429, "2"),
        (What::Manifest, _) => {
            noted.fetch_min(began.elapsed().as_millis() as u64, Ordering::Relaxed);
            Fault::None
        }
        _ => Fault::None,
    });
    let home = Home::new();
    home.slm(["pull", &server.model()]).succeeds();
    let soonest = Duration::from_millis(soonest.load(Ordering::Relaxed));
    assert!(soonest >= Duration::from_secs(2), "asked again after {soonest:?}");
}
