//! Any text is a source or an error; what is shown of an address holds no password and no signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::source::{Source, shard_names};

fuzz_target!(|text: &str| {
    match text.parse::<Source>() {
        Ok(Source::File(url)) => {
            let shown = url.to_string();
            assert!(!shown.contains('?') && !shown.contains('#') && url.url().password().is_none());
            assert!(url.sibling(url.file_name()) == url);
            let _ = url.model_name();
            assert!((1..=1000).contains(&shard_names(url.file_name()).len()));
        }
        Ok(Source::Registry(reference)) => {
            let again: Source = reference.to_string().parse().expect("what is shown is a source");
            let Source::Registry(again) = again else { panic!("it is still a name") };
            assert_eq!((again.name, again.digest), (reference.name, reference.digest));
        }
        Ok(Source::Path(_)) | Err(_) => {}
    }
});
