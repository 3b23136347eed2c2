//! The header `WWW-Authenticate` (RFC 9110, section 11.6.1) as registries write it; it answers no challenge.

/// How a server wants to be told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A user's name and password.
    Basic,
    /// A token from `realm` (the distribution specification's token authentication).
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The first challenge of a header that we can answer, Bearer before Basic.
#[must_use]
pub fn parse(header: &str) -> Option<Challenge> {
    let challenges = split(header);
    let bearer = challenges.iter().find_map(|(scheme, parameters)| {
        let get = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let realm = get("realm")?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Challenge::Bearer {
            realm,
            service: get("service"),
            scope: get("scope"),
        })
    });
    let has_basic = || challenges.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    bearer.or_else(|| has_basic().then_some(Challenge::Basic))
}

type Parameters = Vec<(String, String)>;

/// The schemes of a header, each with its parameters. What is not well formed is passed over.
fn split(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // No token: pass over one character, so that this ends.
            let mut characters = after.chars();
            if characters.next().is_none() {
                return found;
            }
            rest = characters.as_str();
            continue;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start());
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = after;
            }
            None => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A value, in quotes or bare, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            character => value.push(character),
        }
    }
    (value, characters.as_str())
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_registries_write() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let [service, scope] = [service, scope].map(|text| text.map(str::to_owned));
            Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
        };
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(parse("bearer realm=https://x/token , service=s"), bearer("https://x/token", Some("s"), None));
        assert_eq!(parse(r#"Basic realm="a, b=\"c\"", Bearer realm="r""#), bearer("r", None, None));
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate abc=="), None);
        assert_eq!(parse("Bearer"), None);
    }

    proptest! {
        #[test]
        fn any_header_is_answered(header in "(Bearer|Basic|realm|[=,\" \\\\a-zé]){0,20}") {
            let _ = parse(&header);
        }
    }
}
