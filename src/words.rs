//! Words: enums that are spelled on the command line, in Lua and in files, and what to say to a word that is none of them.

use crate::error::Error;

/// Declares an enum whose variants are spelled as words: `WORDS` lists them, `word` and `Display` spell one, `FromStr` and
/// serde read one. `$what` is what a word names, for the sentence "there is no … `x`". A variant that people are shown
/// otherwise than it is spelled has that after `=>`.
macro_rules! words {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident: $what:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal $(=> $shown:literal)?),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name { $($(#[$variant_meta])* $variant),+ }

        #[allow(dead_code, reason = "not every list of words is read in every way")]
        impl $name {
            /// Every variant, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The words of all variants, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for this variant.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $crate::words::words!(@shown $word $($shown)?)),+ })
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::words::unknown($what, word, Self::WORDS)),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
    (@shown $word:literal) => { $word };
    (@shown $word:literal $shown:literal) => { $shown };
}
pub(crate) use words;

/// Declares the choice between the variants of an enum of words and `auto`, the word for leaving it to the program.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident of $words:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub enum $name {
            /// Whatever suits.
            #[default]
            Auto,
            /// This one.
            Named($words),
        }

        impl $name {
            const COUNT: usize = $words::WORDS.len() + 1;

            /// Every word that is accepted, `auto` first.
            pub const WORDS: &'static [&'static str] = &{
                let mut words = ["auto"; Self::COUNT];
                let mut at = 1;
                while at < Self::COUNT {
                    words[at] = $words::WORDS[at - 1];
                    at += 1;
                }
                words
            };

            /// What was named; nothing for `auto`.
            pub const fn named(self) -> Option<$words> {
                match self {
                    $name::Auto => None,
                    $name::Named(named) => Some(named),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $name::Auto => f.write_str("auto"),
                    $name::Named(named) => named.fmt(f),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(word: &str) -> $crate::Result<Self> {
                if word == "auto" { Ok($name::Auto) } else { word.parse().map($name::Named) }
            }
        }
    };
}
pub(crate) use choice;

/// The answer to `word`, which names no `what`: the words that do, and the one that was probably meant.
pub fn unknown(what: &str, word: &str, known: &[&str]) -> Error {
    let words = format!("the words are {}", known.join(", "));
    Error::usage(format!("there is no {what} `{word}`")).with_hint(
        match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {}", words.replacen('t', "T", 1)),
            None => words,
        },
    )
}

/// Longer words are not compared, in bytes.
const LONGEST_WORD: usize = 200;

/// The entry of `known` that is nearest to `word`, if it is near enough to be a typing error.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances take time by the product of the lengths, and nobody mistypes a word as long as that.
    if word.len() > LONGEST_WORD {
        return None;
    }
    known
        .into_iter()
        .filter(|k| k.len() <= 2 * LONGEST_WORD)
        .map(|k| (strsim::osa_distance(word, k), k))
        .filter(|(distance, k)| *distance <= 1 + k.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    words! {
        #[derive(Default)]
        enum Colour: "colour" {
            #[default]
            Red = "red",
            DarkGreen = "dark-green",
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for (colour, word) in Colour::ALL.iter().zip(Colour::WORDS) {
            assert_eq!((colour.to_string().as_str(), word.parse::<Colour>().ok()), (*word, Some(*colour)));
            let json = serde_json::to_string(colour).unwrap();
            assert_eq!(
                (json.as_str(), serde_json::from_str::<Colour>(&json).ok()),
                (&*format!("\"{word}\""), Some(*colour))
            );
        }
        assert_eq!(Colour::default(), Colour::Red);
    }

    #[test]
    fn a_wrong_word_is_a_usage_error_that_lists_the_right_ones() {
        let answer = |word: &str| {
            let error = word.parse::<Colour>().unwrap_err();
            (error.kind(), error.to_string(), error.hint().unwrap_or_default())
        };
        let problem = |word: &str| format!("there is no colour `{word}`");
        assert_eq!(answer("blue"), ("usage", problem("blue"), "the words are red, dark-green".into()));
        let hint = "did you mean `dark-green`? The words are red, dark-green";
        assert_eq!(answer("dark_green"), ("usage", problem("dark_green"), hint.into()));
        assert!(
            serde_json::from_str::<Colour>("\"blue\"").unwrap_err().to_string().contains("no colour `blue`")
        );
    }

    #[test]
    fn nearest_finds_typing_errors_only() {
        assert_eq!(nearest("dialct", ["dialect", "order"]), Some("dialect"));
        assert_eq!(nearest("gpu", ["auto", "cpu", "cuda"]), Some("cpu"));
        assert_eq!(nearest("--verison", ["--verbose", "--version"]), Some("--version"));
        assert_eq!(nearest("colour", ["dialect", "order"]), None);
    }
}
