//! Parts of a model's layers as `--depth` names them.

use std::str::FromStr;

use slm_fit::Depth;

use crate::failure::Failure;

/// The part of the layers that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthArg {
    /// The smallest of an eighth, a third, a half and two thirds that is as good as all layers.
    Auto,
    Layers(u32),
    Share {
        of: u32,
        parts: u32,
    },
}

impl FromStr for DepthArg {
    type Err = String;

    fn from_str(text: &str) -> Result<DepthArg, String> {
        let wrong = || format!("`{text}` is not a part of the layers; write `1/3`, a number of layers, or `auto`");
        if text == "auto" {
            return Ok(DepthArg::Auto);
        }
        match text.split_once('/') {
            None => text.parse().map(DepthArg::Layers).map_err(|_| wrong()),
            Some((parts, of)) => {
                let (parts, of) = (parts.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
                if 0 < parts && parts < of { Ok(DepthArg::Share { of, parts }) } else { Err(wrong()) }
            }
        }
    }
}

impl DepthArg {
    /// The parts of so many layers that are tried, the smallest first.
    ///
    /// # Errors
    /// It is more layers than can be a part, or none.
    pub fn parts(self, n_layers: u32) -> Result<Vec<Depth>, Failure> {
        let most = n_layers.saturating_sub(1);
        let part = |parts: u32, of: u32| {
            let layers = (u64::from(n_layers) * u64::from(parts) + u64::from(of) / 2) / u64::from(of);
            Depth { layers: u32::try_from(layers).unwrap_or(most).clamp(1, most.max(1)), of: n_layers }
        };
        match self {
            _ if most == 0 => Err(Failure::usage("--depth: the model has one layer, of which there is no part")),
            DepthArg::Layers(layers) if layers == 0 || layers > most => Err(Failure::usage(format!(
                "--depth {layers} is not a part of the model's {n_layers} layers; give 1 to {most}, or a fraction such as 1/3"
            ))),
            DepthArg::Layers(layers) => Ok(vec![Depth { layers, of: n_layers }]),
            DepthArg::Share { of, parts } => Ok(vec![part(parts, of)]),
            DepthArg::Auto => {
                let mut parts = vec![part(1, 8), part(1, 3), part(1, 2), part(2, 3)];
                parts.dedup();
                Ok(parts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Depth, DepthArg};

    #[test]
    fn a_part_is_a_fraction_or_a_number_of_layers() {
        let parts = |text: &str, n| {
            let arg: DepthArg = text.parse().map_err(|error: String| error)?;
            arg.parts(n).map_err(|failure| failure.message)
        };
        let layers =
            |text: &str, n| parts(text, n).map(|parts| parts.iter().map(|part| part.layers).collect::<Vec<_>>());
        assert_eq!(layers("1/3", 30), Ok(vec![10]));
        assert_eq!(layers("1/3", 2), Ok(vec![1]));
        assert_eq!(layers("9/10", 4), Ok(vec![3]));
        assert_eq!(layers("7", 30), Ok(vec![7]));
        assert_eq!(layers("auto", 24), Ok(vec![3, 8, 12, 16]));
        assert_eq!(layers("auto", 3), Ok(vec![1, 2]));
        assert_eq!(parts("29", 30), Ok(vec![Depth { layers: 29, of: 30 }]));
        for (text, n) in
            [("0", 30), ("30", 30), ("1/1", 30), ("0/3", 30), ("x", 30), ("1/0", 30), ("-1", 30), ("1/3", 1)]
        {
            assert!(parts(text, n).is_err(), "{text}");
        }
    }
}
