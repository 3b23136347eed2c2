//! Plain tables and bars of characters.

use std::time::Duration;

/// Rows as columns padded to their widest cell, two spaces between; no space at a line's end.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A share from 0 to 1 as a bar of `width` characters, to an eighth of a character.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let part = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    let mut bar = "█".repeat(eighths / 8);
    if part != ' ' {
        bar.push(part);
    }
    bar
}

/// Bytes as people read them, in powers of 1000 as Ollama shows them.
#[must_use]
pub fn size(n_bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("KB", 1e3)];
    let n = n_bytes as f64;
    match units.into_iter().find(|(_, unit)| n >= *unit) {
        Some((name, unit)) if n / unit < 10.0 => format!("{:.1} {name}", n / unit),
        Some((name, unit)) => format!("{:.0} {name}", n / unit),
        None => format!("{n_bytes} B"),
    }
}

/// A span of time in its largest whole unit: `4 minutes`.
#[must_use]
pub fn span(time: Duration) -> String {
    let units = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ];
    let (seconds, unit) = units.into_iter().find(|(seconds, _)| time.as_secs() >= *seconds).unwrap_or((1, "second"));
    counted(time.as_secs() / seconds, unit)
}

/// A number of things: `1 model`, `2 models`.
#[must_use]
pub fn counted(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_lines_trimmed() {
        let rows = vec![vec!["é".to_owned(), "1".to_owned()], vec!["abc".to_owned(), String::new()]];
        assert_eq!(table(&["A", "B"], &rows), "A    B\né    1\nabc\n");
    }

    #[test]
    fn bars_and_sizes() {
        assert_eq!(
            (bar(0.5, 4), bar(1.0, 2), bar(0.0, 2), bar(0.3, 1)),
            ("██".into(), "██".into(), String::new(), "▎".into())
        );
        assert_eq!(
            (size(999), size(2_600_000), size(1_200_000_000)),
            ("999 B".into(), "2.6 MB".into(), "1.2 GB".into())
        );
    }
}
