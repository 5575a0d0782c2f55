//! What a checkpoint has to make samples with: tokenizer, chat template, and how pictures become patches.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::chat_template::ChatTemplate;
use super::patches;
use super::picture_file::{RgbPicture, Upright};
use super::picture_settings::{PictureSettings, normalisation, unknown_processor};
use super::pixel_levels::PixelLevels;
use super::tokens::{CONFIG_FILE, TextTokenizer, read_json};
use super::vision_tokens::VisionTokens;
use crate::checkpoint::Checkpoint;
use crate::engine::sample::{Picture, Sample};
use crate::error::{Error, Result};

/// The files that say how pictures become patches, and the key inside that does.
const PICTURE_FILES: [(&str, Option<&str>); 2] =
    [("preprocessor_config.json", None), ("processor_config.json", Some("image_processor"))];

/// Makes samples for one checkpoint.
#[derive(Debug)]
pub struct Processor {
    directory: PathBuf,
    tokenizer: TextTokenizer,
    template: Option<ChatTemplate>,
    vision: Option<VisionTokens>,
    /// The settings of pictures as they stand in a file.
    pictures: Option<(PathBuf, Value)>,
    /// Rows of the embedding.
    vocabulary: usize,
    model_type: Option<String>,
}

impl Processor {
    /// Reads what `checkpoint` has beside its weights. A missing template and missing settings of pictures are errors only when they
    /// are needed.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a `tokenizer.json`; [`Error::Format`] for files that are broken; those of
    /// [`Checkpoint::read_beside`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let directory = checkpoint.directory().to_path_buf();
        let config = read_json(checkpoint, CONFIG_FILE)?;
        let mut pictures = None;
        for (name, key) in PICTURE_FILES {
            let said = read_json(checkpoint, name)?;
            let said = key.map_or(&said, |key| &said[key]);
            if pictures.is_none() && said.is_object() {
                pictures = Some((directory.join(name), said.clone()));
            }
        }
        let size = |config: &Value| config["vocab_size"].as_u64();
        let vocabulary = size(checkpoint.config()).or_else(|| size(&checkpoint.config()["text_config"]));
        let vocabulary = vocabulary.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
            Error::format(directory.join("config.json"), "gives no `vocab_size`")
                .with_hint("take the file from the model's page")
        })?;
        let vision = VisionTokens::of(checkpoint)?;
        Ok(Processor {
            tokenizer: TextTokenizer::open(checkpoint, &config)?,
            template: ChatTemplate::open(checkpoint, &config, vision.is_some())?,
            vision,
            pictures,
            vocabulary,
            model_type: checkpoint.model_type().map(str::to_owned),
            directory,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// How the model meets pictures; nothing where it sees none.
    pub fn vision(&self) -> Option<&VisionTokens> {
        self.vision.as_ref()
    }

    /// The same for work that cannot do without.
    ///
    /// # Errors
    /// [`Error::Refused`] for a model without a vision tower.
    pub fn require_vision(&self) -> Result<&VisionTokens> {
        self.vision.as_ref().ok_or_else(|| {
            let problem = format!("the model in `{}` sees no pictures", self.directory.display());
            Error::refused(problem).with_hint("give captions or a text, or a model with a vision tower")
        })
    }

    /// How pictures become patches.
    ///
    /// # Errors
    /// Those of [`Processor::require_vision`]; [`Error::NotFound`] where no file says it; [`Error::Refused`] for an image processor
    /// that is not known; [`Error::Format`] for settings that make no sense.
    pub fn picture_settings(&self) -> Result<PictureSettings> {
        let vision = self.require_vision()?;
        let (path, said) = self.pictures.as_ref().ok_or_else(|| {
            let problem = format!("`{}` holds no preprocessor_config.json", self.directory.display());
            Error::not_found(problem).with_hint("copy it from the model's page")
        })?;
        PictureSettings::parse(path, said, vision)
    }

    /// What normalised pixels can be; nothing where no file says it, or one of another processor than is known.
    ///
    /// # Errors
    /// [`Error::Format`] for settings that make no sense.
    pub(super) fn pixel_levels(&self) -> Result<Option<PixelLevels>> {
        match &self.pictures {
            Some((path, said)) if unknown_processor(said).is_none() => normalisation(path, said)
                .map(|(rescale, normalise)| Some(PixelLevels::new(rescale, normalise))),
            _ => Ok(None),
        }
    }

    /// The type of the model, as `config.json` has it.
    pub(super) fn model_type(&self) -> Option<&str> {
        self.model_type.as_deref()
    }

    /// The chat template.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().ok_or_else(|| {
            let problem = format!("`{}` has no chat template", self.directory.display());
            Error::not_found(problem).with_hint(
                "copy chat_template.jinja from the model's page, or take a model that was trained to answer",
            )
        })
    }

    /// The patches of the picture in the file `path`.
    ///
    /// # Errors
    /// Those of [`RgbPicture::read`]; [`Error::Format`] for a picture that is too narrow.
    pub fn picture(&self, path: &Path, settings: &PictureSettings, upright: Upright) -> Result<Picture> {
        patches::cut(path, &RgbPicture::read(path, upright)?, settings)
    }

    /// A sample of `text`, in which an image token stands for each of `pictures`, in order.
    ///
    /// # Errors
    /// [`Error::Refused`] when the text does not hold as many image tokens as there are pictures, or the sample does not fit the
    /// model; those of [`TextTokenizer::encode`]. `what` names the sample.
    pub(super) fn sample(
        &self,
        text: &str,
        adding_special: bool,
        pictures: Vec<Picture>,
        what: impl Fn() -> String,
    ) -> Result<Sample> {
        let tokens = self.tokenizer.encode(text, adding_special)?;
        let tokens = match &self.vision {
            Some(vision) => expanded(&tokens, vision, &pictures, &what)?,
            None => tokens,
        };
        let sample = Sample { tokens, pictures };
        self.require_usable(&sample, what)?;
        Ok(sample)
    }

    /// A prompt as the user's message, after a picture where one is given, up to where the answer begins.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a chat template; those of the picture, and of a sample that does not fit the model.
    pub fn prompt(&self, prompt: &str, picture: Option<&Path>) -> Result<Sample> {
        let template = self.chat_template()?;
        let pictures: Vec<Picture> = match picture {
            Some(path) => vec![self.picture(path, &self.picture_settings()?, Upright::Turned)?],
            None => Vec::new(),
        };
        let content = match picture {
            Some(_) => json!([{"type": "image"}, {"type": "text", "text": prompt}]),
            None => json!(prompt),
        };
        let text = template.render(&json!([{"role": "user", "content": content}]), true)?;
        // A tokenizer never adds to what a template made; a processor does, unless the template begins as it would.
        let begins = template.special_name("bos_token").is_some_and(|bos| text.starts_with(bos));
        self.sample(&text, picture.is_some() && !begins, pictures, || "the prompt".into())
    }

    /// A text that the model is to go on with as it stands, names of special tokens read as such.
    ///
    /// # Errors
    /// [`Error::Argument`] for one of no tokens; those of a sample that does not fit the model.
    pub fn plain_prompt(&self, text: &str) -> Result<Sample> {
        let sample = self.sample(text, true, Vec::new(), || "the prompt".into())?;
        match sample.tokens.is_empty() {
            false => Ok(sample),
            true => Err(Error::argument("the prompt has no tokens").with_hint("say something to go on with")),
        }
    }

    /// Fails unless the model can take a sample: every token has a row in the embedding, and the image tokens are as many as its
    /// pictures take. `what` names the sample.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(super) fn require_usable(&self, sample: &Sample, what: impl Fn() -> String) -> Result<()> {
        if let Some(token) = sample.tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            let name = self.tokenizer.name(*token).map_or(String::new(), |name| format!(" (`{name}`)"));
            let problem = format!(
                "{} holds the token {token}{name}, beyond the model's vocabulary of {}",
                what(),
                self.vocabulary
            );
            return Err(Error::refused(problem).with_hint("take tokenizer and weights from the same model"));
        }
        match &self.vision {
            Some(vision) => vision.require_fitting(sample, what),
            None if sample.pictures.is_empty() => Ok(()),
            None => self.require_vision().map(drop),
        }
    }
}

/// `tokens` with each image token as often as its picture takes.
fn expanded(
    tokens: &[u32],
    vision: &VisionTokens,
    pictures: &[Picture],
    what: impl Fn() -> String,
) -> Result<Vec<u32>> {
    let places = tokens.iter().filter(|token| **token == vision.image).count();
    if places != pictures.len() {
        let problem = format!("{} has room for {places} pictures, and there are {}", what(), pictures.len());
        return Err(Error::refused(problem).with_hint(
            "each picture needs its place in the chat template, and no text may hold image tokens",
        ));
    }
    let mut pictures = pictures.iter();
    let mut all = Vec::with_capacity(tokens.len());
    for token in tokens {
        let times = match *token == vision.image {
            true => pictures.next().map_or(1, |picture| vision.count(picture.grid)),
            false => 1,
        };
        all.extend(std::iter::repeat_n(*token, times));
    }
    Ok(all)
}
