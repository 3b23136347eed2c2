//! What a terminal can show: bars of block characters, styled text, a cursor that moves. It reads no environment.

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub bars: Bars,
    pub styles: Styles,
    pub cursor: Cursor,
}

/// How a share is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bars {
    /// As a bar of block characters after its number.
    Blocks,
    /// As its number alone.
    Numbers,
}

/// Whether text is dimmed by escape sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Styles {
    Escapes,
    Plain,
}

/// Whether the cursor can be moved, so that lines can be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    Moves,
    Fixed,
}

/// Whether someone has said `NO_COLOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Allowed,
    Unwanted,
}

impl Look {
    /// What the terminal that `TERM` names can show in this locale.
    #[must_use]
    pub fn of(term: Option<&str>, locale: Option<&str>, colour: Colour) -> Look {
        // Those that rustyline edits no lines on.
        let is_dumb = term.is_some_and(|term| ["dumb", "cons25", "emacs"].contains(&term));
        let bars = if is_dumb || !is_utf8(locale) { Bars::Numbers } else { Bars::Blocks };
        let styles = if is_dumb || colour == Colour::Unwanted { Styles::Plain } else { Styles::Escapes };
        let cursor = if is_dumb { Cursor::Fixed } else { Cursor::Moves };
        Look { bars, styles, cursor }
    }
}

/// Where no variable names a locale, as in most containers, terminals are UTF-8 all the same.
fn is_utf8(locale: Option<&str>) -> bool {
    locale.is_none_or(|locale| {
        let plain = locale.to_ascii_lowercase().replace('-', "");
        plain.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_for_terminals_that_can_show_them() {
        let bars = |term, locale| Look::of(Some(term), locale, Colour::Allowed).bars;
        assert_eq!(bars("xterm-256color", Some("de_DE.UTF-8")), Bars::Blocks);
        assert_eq!(bars("tmux", Some("C.utf8")), Bars::Blocks);
        assert_eq!(bars("xterm", None), Bars::Blocks);
        assert_eq!(bars("xterm", Some("C")), Bars::Numbers);
        assert_eq!(bars("xterm", Some("de_DE.ISO-8859-1")), Bars::Numbers);
        assert_eq!(bars("dumb", Some("de_DE.UTF-8")), Bars::Numbers);
    }

    #[test]
    fn nothing_is_styled_where_somebody_says_so_or_cannot_see_it() {
        let styles = |term, colour| Look::of(Some(term), None, colour).styles;
        assert_eq!(styles("xterm", Colour::Allowed), Styles::Escapes);
        assert_eq!(styles("xterm", Colour::Unwanted), Styles::Plain);
        assert_eq!(styles("dumb", Colour::Allowed), Styles::Plain);
    }
}
