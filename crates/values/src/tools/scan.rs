//! Finds the end of a value while it is being written: JSON and Python's lists, byte by byte, without building anything.

use super::limits::MAX_DEPTH;

/// What a byte made of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanStep {
    /// It continues.
    More,
    /// This byte was its last one.
    End,
    /// It is not such a value, whatever follows.
    Bad,
}

/// Whether a byte can be a part of a tool's name; letters beyond ASCII are looked at when it is whole.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte) || !byte.is_ascii()
}

/// An object or a list of JSON. Line feeds within texts are let through: small models write them.
#[derive(Debug, Clone)]
pub(super) struct JsonScan {
    /// The objects and lists that are open, as they opened.
    open: Vec<u8>,
    expects: Expects,
    /// The first key, as far as it is written, and whether it is whole.
    key: Vec<u8>,
    has_key: bool,
    /// What the first key may be; anything where it is empty.
    keys: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Value,
    /// A value, or the end of an empty list.
    FirstItem,
    Key,
    /// A key, or the end of an empty object.
    FirstKey,
    Colon,
    /// A comma, or the end of what is open.
    Next,
    /// The rest of a text, which is a key or not.
    Text {
        is_key: bool,
        is_escaped: bool,
    },
    /// The rest of a number, `true`, `false` or `null`.
    Word,
}

impl JsonScan {
    /// A scan of an object that begins with one of these keys, or of a list of such.
    pub(super) fn new(keys: &'static [&'static str]) -> Self {
        JsonScan { open: Vec::new(), expects: Expects::Value, key: Vec::new(), has_key: false, keys }
    }

    /// A scan of any object.
    pub(super) fn of_any_object() -> Self {
        JsonScan::new(&[])
    }

    pub(super) fn step(&mut self, byte: u8) -> ScanStep {
        if let Expects::Text { is_key, is_escaped } = self.expects {
            return self.within_text(byte, is_key, is_escaped);
        }
        if self.expects == Expects::Word {
            if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) {
                return ScanStep::More;
            }
            self.expects = Expects::Next;
        }
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return ScanStep::More;
        }
        match (self.expects, byte) {
            (Expects::Value | Expects::FirstItem, b'{' | b'[') => self.begin(byte),
            // Only an object or a list has an end of its own, and calls are objects.
            (Expects::Value | Expects::FirstItem, _) if !self.has_key && byte != b']' => ScanStep::Bad,
            (Expects::Value | Expects::FirstItem, b'"') => {
                self.expect(Expects::Text { is_key: false, is_escaped: false })
            }
            (Expects::Value | Expects::FirstItem, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.expect(Expects::Word)
            }
            (Expects::Key | Expects::FirstKey, b'"') => self.expect(Expects::Text { is_key: true, is_escaped: false }),
            (Expects::Colon, b':') => self.expect(Expects::Value),
            (Expects::Next, b',') if self.open.last() == Some(&b'{') => self.expect(Expects::Key),
            (Expects::Next, b',') => self.expect(Expects::Value),
            (Expects::Next | Expects::FirstKey, b'}') if self.open.last() == Some(&b'{') => self.end(),
            (Expects::Next | Expects::FirstItem, b']') if self.open.last() == Some(&b'[') => self.end(),
            _ => ScanStep::Bad,
        }
    }

    fn expect(&mut self, expects: Expects) -> ScanStep {
        self.expects = expects;
        ScanStep::More
    }

    fn begin(&mut self, byte: u8) -> ScanStep {
        if self.open.len() >= MAX_DEPTH {
            return ScanStep::Bad;
        }
        self.open.push(byte);
        self.expect(if byte == b'{' { Expects::FirstKey } else { Expects::FirstItem })
    }

    fn end(&mut self) -> ScanStep {
        self.open.pop();
        self.expects = Expects::Next;
        if self.open.is_empty() { ScanStep::End } else { ScanStep::More }
    }

    fn within_text(&mut self, byte: u8, is_key: bool, is_escaped: bool) -> ScanStep {
        let ends = byte == b'"' && !is_escaped;
        if is_key && !self.has_key && !ends {
            self.key.push(byte);
        }
        if !ends {
            return self.expect(Expects::Text { is_key, is_escaped: byte == b'\\' && !is_escaped });
        }
        self.expects = if is_key { Expects::Colon } else { Expects::Next };
        if is_key && !self.has_key {
            self.has_key = true;
            if !self.keys.is_empty() && !self.keys.iter().any(|key| key.as_bytes() == self.key) {
                return ScanStep::Bad;
            }
        }
        ScanStep::More
    }
}

/// A list of Python's, by its brackets and quotes.
#[derive(Debug, Clone, Default)]
pub(super) struct PythonScan {
    open: Vec<u8>,
    quote: Option<u8>,
    is_escaped: bool,
}

impl PythonScan {
    pub(super) fn step(&mut self, byte: u8) -> ScanStep {
        if let Some(quote) = self.quote {
            if byte == quote && !self.is_escaped {
                self.quote = None;
            }
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return ScanStep::More;
        }
        match byte {
            b'\'' | b'"' => self.quote = Some(byte),
            b'[' | b'(' | b'{' if self.open.len() < MAX_DEPTH => self.open.push(byte),
            b'[' | b'(' | b'{' => return ScanStep::Bad,
            b']' | b')' | b'}' => {
                let opened = match byte {
                    b']' => b'[',
                    b')' => b'(',
                    _ => b'{',
                };
                if self.open.pop() != Some(opened) {
                    return ScanStep::Bad;
                }
            }
            _ => {}
        }
        if self.open.is_empty() { ScanStep::End } else { ScanStep::More }
    }
}
