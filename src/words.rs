//! Enums whose variants are words of the command line, of Lua and of files: word and variant stand side by side, once.

/// Declares an enum whose variants are spelled as words: `WORDS`, `ALL`, `word()`, `Display` and `FromStr`, whose error is
/// an [`crate::Error::Argument`] that suggests the nearest word. A variant that is shown otherwise than it is spelled has
/// that after `=>`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(=> $shown:literal)?),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every word that is accepted, in the order of the documentation.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Every variant, in the same order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word for this variant.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $crate::words::words!(@shown $word $($shown)?)),+ })
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(word: &str) -> $crate::Result<Self> {
                $(if word == $word {
                    return Ok(Self::$variant);
                })+
                let known = Self::WORDS.join(", ");
                let problem = format!(concat!("there is no ", $what, " `{}`"), word);
                let near = $crate::selector::nearest(word, Self::WORDS.iter().copied());
                Err($crate::Error::argument(problem).with_hint(match near {
                    Some(near) => format!("did you mean `{near}`? Known: {known}"),
                    None => format!("known: {known}"),
                }))
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
