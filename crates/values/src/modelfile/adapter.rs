//! An adapter as people name it: where it is, and how strongly it applies.

use super::error::ModelfileFault;
use std::fmt;
use std::str::FromStr;

/// The most that a scale may be, either way.
pub const MAX_SCALE: f32 = 1000.0;

/// What `ADAPTER` says: a path, and a scale where it is not 1.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSource {
    pub path: String,
    pub scale: f32,
}

/// A scale from its text; `None` where the text is not a number.
///
/// # Errors
/// [`ModelfileFault::AdapterScale`] where it is out of range.
pub fn scale(text: &str) -> Result<Option<f32>, ModelfileFault> {
    let Ok(number) = text.parse::<f32>() else { return Ok(None) };
    if !number.is_finite() || number.abs() > MAX_SCALE {
        return Err(ModelfileFault::AdapterScale(text.chars().take(100).collect()));
    }
    Ok(Some(number))
}

impl FromStr for AdapterSource {
    type Err = ModelfileFault;

    /// A last word that is a number is the scale.
    fn from_str(text: &str) -> Result<AdapterSource, ModelfileFault> {
        let text = text.trim();
        if let Some((path, last)) = text.rsplit_once(char::is_whitespace)
            && let Some(scale) = scale(last)?
        {
            return Ok(AdapterSource { path: path.trim_end().to_owned(), scale });
        }
        Ok(AdapterSource { path: text.to_owned(), scale: 1.0 })
    }
}

/// Parses back to the same.
impl fmt::Display for AdapterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends_in_number =
            self.path.rsplit_once(char::is_whitespace).is_some_and(|(_, last)| last.parse::<f32>().is_ok());
        if self.scale == 1.0 && !ends_in_number {
            f.write_str(&self.path)
        } else {
            write!(f, "{} {}", self.path, self.scale)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_word_that_is_a_number_is_the_scale() {
        for (text, path, scale, shown) in [
            ("./lora.gguf", "./lora.gguf", 1.0, "./lora.gguf"),
            ("./lora.gguf 0.5", "./lora.gguf", 0.5, "./lora.gguf 0.5"),
            ("  ./my lora.gguf   -2 ", "./my lora.gguf", -2.0, "./my lora.gguf -2"),
            ("./lora 2 1", "./lora 2", 1.0, "./lora 2 1"),
            ("2", "2", 1.0, "2"),
        ] {
            let parsed: AdapterSource = text.parse().unwrap();
            assert_eq!((parsed.path.as_str(), parsed.scale, parsed.to_string().as_str()), (path, scale, shown));
            assert_eq!(shown.parse::<AdapterSource>().unwrap(), parsed);
        }
        for text in ["./lora nan", "./lora 1e40", "./lora 1001", "./lora -inf"] {
            assert!(text.parse::<AdapterSource>().is_err(), "{text}");
        }
    }
}
