//! Answers to prompts.

use std::path::PathBuf;

use super::{OpenedEngine, positive};
use crate::engine::inputs::{Processor, TextStream, end_tokens};
use crate::engine::{Cpu, Generation, Network, Sample};
use crate::error::Error;
use crate::lua::declare::{Function, Options, PathUse};
use crate::lua::values::Callback;
use crate::lua::{Call, Type};

pub(super) fn generate() -> Function {
    Function::new(
        "generate",
        "Answers a prompt with the likeliest token after the likeliest, in the chat template of the checkpoint, until the model ends \
         its answer or there are `tokens` of them. Special tokens are no part of the text.",
    )
    .param("prompt", Type::String, "what the user says")
    .long()
    .options(
        Options::new()
            .option("image", Type::Path, "a picture to go with the prompt")
            .used_for(PathUse::Read)
            .default("tokens", Type::Integer, 64, "at most so many")
            .default("template", Type::Boolean, true, "false: the model goes on with the prompt as it stands")
            .option("on_token", Type::Function("fun(text: string)"), "takes the text piece by piece, as soon as whole characters are there"),
    )
    .returns(Type::String, "the text")
    .returns(Type::List(&Type::Integer), "its tokens, the one that ends it as well")
    .returns(Type::Boolean, "whether the model ended it")
    .raises("the checkpoint has no chat template, or sees no pictures")
    .raises("the function raises")
    .example(
        "local engine = qlua.engine.open(qlua.checkpoint.demo(\"demo\").model)\n\
         local pieces = {}\n\
         local text, tokens = engine:generate(\"Hello\", {\n  tokens = 4,\n  on_token = function(piece) table.insert(pieces, piece) end,\n})\n\
         assert(#tokens <= 4 and table.concat(pieces) == text)",
    )
}

/// What a model said.
#[derive(Default)]
struct Answer {
    text: String,
    tokens: Vec<u32>,
    is_finished: bool,
}

pub(super) fn run_generate(engine: &OpenedEngine, call: &Call) -> anyhow::Result<(String, Vec<u32>, bool)> {
    let prompt: String = call.get("prompt")?;
    let image: Option<PathBuf> = call.get::<Option<String>>("image")?.map(PathBuf::from);
    let most = positive(call, "tokens")?;
    let template: bool = call.get("template")?;
    let on_token: Option<Callback> = call.get("on_token")?;
    let processor = engine.processor()?;
    let sample = match (template, image) {
        (true, image) => processor.prompt(&prompt, image.as_deref())?,
        (false, None) => processor.plain_prompt(&prompt)?,
        (false, Some(_)) => {
            return Err(Error::usage("an image needs the chat template")
                .with_hint("the template says where it stands; leave out template = false")
                .into());
        }
    };
    let mut raised = None;
    let mut give = |piece: &str| match &on_token {
        Some(function) if !piece.is_empty() => {
            function.call(call.lua(), piece).map_err(|error| raised = Some(error)).is_ok()
        }
        _ => true,
    };
    let answer = engine.model.unchanged(answer(engine, processor, &sample, most, &mut give));
    match raised {
        Some(error) => Err(error),
        None => answer.map(|answer| (answer.text, answer.tokens, answer.is_finished)).map_err(Into::into),
    }
}

/// Generates until the end, or until `give`, which takes the text, gives false.
fn answer(
    engine: &OpenedEngine,
    processor: &Processor,
    prompt: &Sample,
    most: usize,
    give: &mut dyn FnMut(&str) -> bool,
) -> crate::Result<Answer> {
    let network = Network::open(&engine.model)?;
    let ends = end_tokens(&engine.model)?;
    let mut stream = TextStream::after(processor.tokenizer(), &prompt.tokens, true);
    let mut generation = Generation::begin(&network, &Cpu, prompt)?;
    let mut answer = Answer::default();
    for token in generation.greedy(&ends, most) {
        let token = token?;
        answer.tokens.push(token);
        answer.is_finished = ends.contains(&token);
        let piece = stream.push(token)?;
        answer.text += &piece;
        if !give(&piece) {
            return Ok(answer);
        }
    }
    let rest = stream.finish()?;
    answer.text += &rest;
    give(&rest);
    Ok(answer)
}
