//! Text that is broken between words at the width of a terminal while it is written: a word is shown when it is whole.

use unicode_width::UnicodeWidthChar as _;

/// Columns between two stops of a tab.
const TAB: usize = 8;

/// A text on its way to a terminal.
#[derive(Debug, Clone, Default)]
pub struct Wrap {
    /// Columns of a line; `None` breaks nothing.
    width: Option<usize>,
    /// Columns that the shown part of the line takes.
    column: usize,
    /// White space after what was shown.
    gap: String,
    /// The word that has begun, with its columns.
    word: String,
    n_columns: usize,
    /// Whether the beginning of the word is shown, because no line could hold it.
    is_begun: bool,
}

impl Wrap {
    #[must_use]
    pub fn to(width: Option<usize>) -> Wrap {
        Wrap { width: width.filter(|width| *width > 0), ..Wrap::default() }
    }

    /// The part of the text so far that can be shown now.
    pub fn push(&mut self, text: &str) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        let mut shown = String::new();
        for c in text.chars() {
            match c {
                '\n' => {
                    self.end_word(width, &mut shown);
                    self.gap.clear();
                    (self.column, self.is_begun) = (0, false);
                    shown.push('\n');
                }
                ' ' | '\t' => {
                    self.end_word(width, &mut shown);
                    self.gap.push(c);
                    self.is_begun = false;
                }
                c => self.add(c, width, &mut shown),
            }
        }
        shown
    }

    /// What was held back.
    pub fn end(&mut self) -> String {
        let mut shown = String::new();
        if let Some(width) = self.width {
            self.end_word(width, &mut shown);
        }
        shown
    }

    fn add(&mut self, c: char, width: usize, shown: &mut String) {
        // Control characters are shown as one picture.
        let n_columns = c.width().unwrap_or(1);
        // Between the signs of Chinese and Japanese a line may be broken anywhere.
        if n_columns > 1 {
            self.end_word(width, shown);
            self.is_begun = false;
        }
        self.word.push(c);
        self.n_columns += n_columns;
        if n_columns > 1 {
            self.end_word(width, shown);
        } else if self.n_columns >= width {
            self.end_word(width, shown);
            self.is_begun = true;
        }
    }

    fn end_word(&mut self, width: usize, shown: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let gap = self.gap.chars().fold(0, |n, c| match c {
            '\t' => n + TAB - (self.column + n) % TAB,
            _ => n + 1,
        });
        let behind = self.column + gap + self.n_columns;
        if self.is_begun {
            // The terminal breaks it.
            self.column = (behind - 1) % width + 1;
        } else if self.column > 0 && behind > width {
            shown.push('\n');
            self.column = self.n_columns;
        } else {
            *shown += &self.gap;
            self.column = behind;
        }
        self.gap.clear();
        *shown += &std::mem::take(&mut self.word);
        self.n_columns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Wrap;
    use proptest::prelude::*;

    /// The text as it is shown, from pieces of these many characters.
    fn shown(text: &str, width: Option<usize>, n_chars: usize) -> String {
        let mut wrap = Wrap::to(width);
        let chars: Vec<char> = text.chars().collect();
        let mut shown: String =
            chars.chunks(n_chars).map(|piece| wrap.push(&piece.iter().collect::<String>())).collect();
        shown += &wrap.end();
        shown
    }

    #[test]
    fn lines_are_broken_between_words() {
        for n_chars in [1, 3, 100] {
            let wrapped = |text| shown(text, Some(10), n_chars);
            assert_eq!(wrapped("one two three four"), "one two\nthree four");
            assert_eq!(wrapped("  indented text\nnew line"), "  indented\ntext\nnew line");
            assert_eq!(wrapped("a word-of-many-letters b"), "a\nword-of-many-letters\nb");
            assert_eq!(wrapped("天地玄黄宇宙洪荒"), "天地玄黄宇\n宙洪荒");
            assert_eq!(wrapped("ends.\n"), "ends.\n");
            assert_eq!(shown("one two three four", None, n_chars), "one two three four");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_lost(text in "[a-z \\n天]{0,60}", width in 1..20_usize, n_chars in 1..9_usize) {
            let words = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(words(&shown(&text, Some(width), n_chars)), words(&text));
        }
    }
}
