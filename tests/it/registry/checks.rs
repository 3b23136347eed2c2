//! The faulty server is faulty in the ways that it says, and right where it is told nothing.

use std::time::Duration;

use crate::registry::faulty::{Access, Fault, Faulty, Seen, TOKEN, What};
use crate::registry::package::{Package, digest};
use crate::registry::servers::{http, on_runtime};

/// What a client had: the status, a header, and the body or how it failed.
struct Had {
    status: u16,
    range: Option<String>,
    body: Result<Vec<u8>, String>,
}

/// Asks for bytes 1000 to 49,999 of the weights, for at most a second.
fn ask(server: &Faulty, package: &Package) -> Option<Had> {
    let get = http().get(format!("http://{}/v2/library/m/blobs/{}", server.host(), package.weights()));
    let asked = async {
        let response = get.header("range", "bytes=1000-49999").send().await.unwrap();
        let status = response.status().as_u16();
        let range = response.headers().get("content-range").map(|range| range.to_str().unwrap().to_owned());
        Had { status, range, body: response.bytes().await.map(Into::into).map_err(|error| format!("{error:?}")) }
    };
    on_runtime(async { tokio::time::timeout(Duration::from_secs(1), asked).await.ok() })
}

#[test]
fn each_fault_is_what_it_says() {
    let package = Package::random(1, 100_000, &[]);
    let weights = package.blobs[&package.weights()].clone();
    let n = weights.len();
    let server = Faulty::serve(&package);
    let had = |fault: Fault| {
        server.faults(move |_| fault.clone());
        ask(&server, &package)
    };
    let part = |fault: Fault| had(fault).map(|had| (had.status, had.range.unwrap_or_default(), had.body)).unwrap();
    let right = format!("bytes 1000-49999/{n}");
    let bytes = |first: usize, end: usize| Ok(weights[first..end].to_vec());
    assert_eq!(part(Fault::None), (206, right.clone(), bytes(1000, 50_000)));
    assert_eq!(part(Fault::OtherRange { by: 5 }), (206, format!("bytes 1005-50004/{n}"), bytes(1005, 50_005)));
    assert_eq!(part(Fault::OtherBytes { by: 5 }), (206, right.clone(), bytes(1005, 50_005)));
    assert_eq!(part(Fault::NoContentRange), (206, String::new(), bytes(1000, 50_000)));
    assert_eq!(part(Fault::MoreBytes { by: 9 }), (206, format!("bytes 1000-50008/{n}"), bytes(1000, 50_009)));
    assert_eq!(part(Fault::NoRanges), (200, String::new(), bytes(0, n)));
    let mut flipped = weights[1000..50_000].to_vec();
    flipped[40_000 - 1000] ^= 1;
    assert_eq!(part(Fault::Flip { at: 40_000 }), (206, right.clone(), Ok(flipped)));
    assert_eq!(part(Fault::Status(503)).0, 503);
    assert!(part(Fault::Page).2.unwrap().starts_with(b"<html>"));
    for broken in [Fault::Cut { after: 40_000 }, Fault::Length(1 << 60)] {
        let error = part(broken.clone()).2.unwrap_err();
        assert!(!error.contains("ConnectionReset"), "{broken:?}: {error}");
    }
    assert!(part(Fault::Reset { after: 40_000 }).2.unwrap_err().contains("ConnectionReset"));
    for endless in [Fault::Stall { after: 10 }, Fault::Silence, Fault::Endless, Fault::Slow { bytes_per_second: 9000 }]
    {
        assert!(had(endless.clone()).is_none(), "{endless:?}");
    }
}

#[test]
fn counts_what_it_sends_and_remembers_who_asked() {
    let package = Package::random(2, 100_000, &[]);
    let server = Faulty::serve(&package).with(
        |seen: &Seen| {
            if seen.index == 1 { Fault::Cut { after: 20_000 } } else { Fault::None }
        },
    );
    server.access(Access::Bearer { realm: "http://elsewhere/token".to_owned(), user: None });
    let blob = format!("http://{}/v2/library/m/blobs/{}", server.host(), package.weights());
    on_runtime(async {
        let challenged = http().get(&blob).send().await.unwrap();
        assert_eq!(challenged.status(), 401);
        let how = "Bearer realm=\"http://elsewhere/token\",service=\"tests\",scope=\"repository:library/m:pull\"";
        assert_eq!(challenged.headers()["www-authenticate"], how);
        let _cut = http().get(&blob).bearer_auth(TOKEN).send().await.unwrap().bytes().await;
    });
    // The challenged request had nothing, the cut one its beginning.
    assert_eq!((server.n_sent(), server.n_seen(What::Blob)), (20_000, 2));
    let seen = server.seen();
    let authorizations: Vec<_> = seen.iter().map(|seen| seen.authorization.as_deref()).collect();
    assert_eq!(authorizations, [None, Some("Bearer a-token-of-the-tests")]);
    assert_eq!(seen[0].digest.as_deref(), Some(digest(&package.blobs[&package.weights()]).as_str()));
}
