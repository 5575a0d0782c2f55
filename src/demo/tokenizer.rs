//! A tokenizer of 256 bytes and Qwen's special tokens: no merges, so that nothing needs to be trained, yet every text
//! can be encoded.

use serde_json::{Map, Value, json};

use super::shape::Qwen25VlShape;

/// Qwen's special tokens in order, the first at [`Qwen25VlShape::first_special_token`].
const SPECIAL: [&str; 14] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
];

pub(super) const END_OF_TEXT: usize = 0;
pub(super) const IM_END: usize = 2;
pub(super) const VISION_START: usize = 9;
pub(super) const VISION_END: usize = 10;
pub(super) const VISION_PAD: usize = 11;
pub(super) const IMAGE_PAD: usize = 12;
pub(super) const VIDEO_PAD: usize = 13;

/// Qwen's chat layout: role and text between `<|im_start|>` and `<|im_end|>`, pictures as placeholders.
pub(super) const CHAT_TEMPLATE: &str = "\
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}\
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] %}\
{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>\
{% elif 'text' in part %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// `tokenizer.json`.
pub(super) fn tokenizer(shape: &Qwen25VlShape) -> Value {
    let byte_level = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": false});
    // The special tokens stand in the vocabulary too: a reader numbers tokens that are only in `added_tokens` onwards
    // from the vocabulary's end, whatever id is written there.
    let mut vocabulary: Map<String, Value> =
        byte_characters().into_iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    vocabulary.extend(special(shape).map(|(id, content)| (content.to_string(), json!(id))));
    let added: Vec<Value> = special(shape)
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": byte_level(false),
        "post_processor": byte_level(false),
        "decoder": byte_level(false),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocabulary,
            "merges": [],
        },
    })
}

/// `tokenizer_config.json`.
pub(super) fn tokenizer_config(shape: &Qwen25VlShape) -> Value {
    let decoder: Map<String, Value> = special(shape)
        .map(|(id, content)| {
            let token = json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false,
                               "single_word": false, "special": true});
            (id.to_string(), token)
        })
        .collect();
    json!({
        "add_bos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": SPECIAL[1..],
        "bos_token": null,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": false,
        "eos_token": SPECIAL[IM_END],
        "errors": "replace",
        "model_max_length": 131_072,
        "pad_token": SPECIAL[END_OF_TEXT],
        "split_special_tokens": false,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": null,
    })
}

fn special(shape: &Qwen25VlShape) -> impl Iterator<Item = (usize, &'static str)> {
    (shape.first_special_token..).zip(SPECIAL)
}

/// The 256 characters that stand for bytes in GPT-2's byte-level vocabulary, in its order: printable bytes stand for
/// themselves, the others for the characters from U+0100 on.
fn byte_characters() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut characters: Vec<char> = (0..=255).filter(printable).map(char::from).collect();
    let others = (0..=255u8).filter(|byte| !printable(byte)).count() as u32;
    characters.extend((0x100..0x100 + others).filter_map(char::from_u32));
    characters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_characters_are_those_of_gpt2() {
        let characters = byte_characters();
        assert_eq!(characters.len(), 256);
        // Known ids of the published vocabularies of GPT-2 and Qwen.
        for (c, id) in
            [('!', 0), ('A', 32), ('a', 64), ('~', 93), ('¡', 94), ('ÿ', 187), ('Ġ', 220), ('Ċ', 198)]
        {
            assert_eq!(characters[id], c);
        }
    }

    #[test]
    fn ids_fit_the_embedding_and_are_unique() {
        let shape = Qwen25VlShape::DEMO;
        let tokenizer = tokenizer(&shape);
        let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
        let ids: std::collections::BTreeSet<u64> =
            vocabulary.values().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(ids.len(), 270);
        assert!(*ids.last().unwrap() < shape.vocab_size as u64);
    }
}
