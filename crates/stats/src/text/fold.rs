//! Texts without what seldom matters: case, blanks, punctuation, and the ways in which Unicode writes one character.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// The text to compare by. In this order:
///
/// - compatible characters become one (NFKC: `ﬁ` is `fi`, `①` is `1`, full-width letters are letters), and case is folded
///   (`STRASSE` is `straße`);
/// - format characters such as soft hyphens and zero-width joiners go;
/// - apostrophes, quotes and full stops go (`don't` is `dont`, `U.S.A.` is `usa`), other punctuation becomes a blank
///   (`state-of-the-art` is `state of the art`); but between two digits all of it stays, as does a dash before a digit that
///   no letter or digit precedes (`1.5` is not `15`, `-3` not `3`);
/// - blanks of any kind and number become one, and none at the ends.
///
/// Accents and symbols (`€`, `+`, `%` is punctuation) stay.
#[must_use]
pub fn fold(text: &str) -> String {
    let once: String = text.nfkc().collect();
    let folded: String = caseless::default_case_fold_str(&once).nfkc().collect();
    let characters: Vec<char> = folded.chars().filter(|c| c.general_category() != GeneralCategory::Format).collect();
    let mut out = String::with_capacity(folded.len());
    for (at, &c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(at + 1).copied();
        match kept(before, c, after) {
            Kept::AsIs => out.push(c),
            Kept::AsBlank if !out.is_empty() && !out.ends_with(' ') => out.push(' '),
            Kept::AsBlank | Kept::Not => {}
        }
    }
    out.truncate(out.trim_end().len());
    out
}

enum Kept {
    AsIs,
    AsBlank,
    Not,
}

fn kept(before: Option<char>, c: char, after: Option<char>) -> Kept {
    let is_digit = |c: Option<char>| c.is_some_and(char::is_numeric);
    if c.is_whitespace() {
        return Kept::AsBlank;
    }
    if c.general_category_group() != GeneralCategoryGroup::Punctuation && c != '`' && c != '´' {
        return Kept::AsIs;
    }
    let is_sign =
        c.general_category() == GeneralCategory::DashPunctuation && !before.is_some_and(char::is_alphanumeric);
    if is_digit(after) && (is_digit(before) || is_sign) {
        return Kept::AsIs;
    }
    match c {
        '.' | '\'' | '"' | '`' | '´' | '‘' | '’' | '‚' | '‛' | '“' | '”' | '„' | '‟' | '«' | '»' | '‹' | '›' => {
            Kept::Not
        }
        _ => Kept::AsBlank,
    }
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn what_seldom_matters_goes() {
        for (text, expected) in [
            ("  Smith,  John\u{a0}\n", "smith john"),
            ("Smith,John", "smith john"),
            ("don’t DON'T", "dont dont"),
            ("U.S.A.", "usa"),
            ("state-of-the-art", "state of the art"),
            ("STRASSE Straße", "strasse strasse"),
            ("ﬁne ① Ｆｕｌｌ", "fine 1 full"),
            ("co\u{ad}operate", "cooperate"),
            ("«Quoted» “text”!", "quoted text"),
            ("1.5 1,5 15", "1.5 1,5 15"),
            ("12:30, 3/4 and A-5", "12:30 3/4 and a 5"),
            ("-3 (-4) – 5", "-3 -4 5"),
            ("10 € + 5 %", "10 € + 5"),
            ("café", "café"),
            ("cafe\u{301}", "café"),
            ("...", ""),
        ] {
            assert_eq!(fold(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_folded_text_has_single_blanks_inside(text in "\\PC{0,24}") {
            let folded = fold(&text);
            prop_assert!(folded == folded.trim() && !folded.contains("  "), "{:?}", folded);
            prop_assert_eq!(fold(&text.to_uppercase().to_lowercase()), fold(&text.to_lowercase().to_uppercase().to_lowercase()));
        }
    }
}
