//! Text broken between words for a terminal of some width.

use unicode_width::UnicodeWidthStr as _;

/// The columns of the terminal that standard error or standard output is connected to; `None` if it is not a terminal.
#[must_use]
pub fn columns(of: &impl std::os::fd::AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(of).map(|(width, _)| usize::from(width.0)).filter(|&width| width > 0)
}

/// The text in lines of at most `width` columns, those after the first `indent` columns in. Only spaces between words become
/// line ends: a word that is longer has a line for itself, and lines that fit stay as they are.
#[must_use]
pub fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            wrapped.push('\n');
        }
        let mut column = 0;
        // A line is cut before a word with the spaces that are before it.
        for piece in line.split_inclusive(' ') {
            let word = piece.trim_end_matches(' ');
            if column > indent && column + word.width() > width {
                let kept = wrapped.trim_end_matches(' ').len();
                wrapped.truncate(kept);
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            }
            wrapped.push_str(piece);
            column += piece.width();
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_end_between_words() {
        assert_eq!(
            wrapped("slm: no space left to write `/a/b`; free some", 20, 0),
            "slm: no space left\nto write `/a/b`;\nfree some"
        );
        assert_eq!(wrapped("one two three", 9, 2), "one two\n  three");
        assert_eq!(wrapped("a\n  b c", 80, 0), "a\n  b c");
        assert_eq!(wrapped("see /a/very/long/path now", 8, 0), "see\n/a/very/long/path\nnow");
        // Characters of two columns, and a question's last space.
        assert_eq!(wrapped("日本 日本 ok? ", 9, 0), "日本 日本\nok? ");
    }
}
