//! The tensors of vision towers.

use super::sizes::{Gap, Sizes, times};
use super::tensors::{Size, TensorList};

/// The vision towers whose shapes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisionFamily {
    Qwen25Vl,
    Qwen3Vl,
}

/// The tensors of the tower that `config` describes, below `prefix`; a gap where it does not say of how many blocks it
/// consists, or says more than `most`.
pub(super) fn add_vision(
    list: &mut TensorList,
    family: VisionFamily,
    config: Sizes,
    prefix: &str,
    most: usize,
) -> Result<(), Gap> {
    let is_newer = family == VisionFamily::Qwen3Vl;
    let hidden = config.number("hidden_size");
    let inner = config.number("intermediate_size");
    let colours = if config.has("in_channels") { "in_channels" } else { "in_chans" };
    let patch = config.number_or("patch_size", if is_newer { 16 } else { 14 });
    let frames = config.number_or("temporal_patch_size", 2);
    list.add(
        format!("{prefix}patch_embed.proj.weight"),
        &[hidden, config.number_or(colours, 3), frames, patch, patch],
    );
    if is_newer {
        list.add(format!("{prefix}patch_embed.proj.bias"), &[hidden]);
        list.add(format!("{prefix}pos_embed.weight"), &[config.number("num_position_embeddings"), hidden]);
    }
    for number in 0..config.count("depth", most)? {
        let block = format!("{prefix}blocks.{number}");
        list.add_norm(&format!("{block}.norm1"), hidden, is_newer);
        list.add_norm(&format!("{block}.norm2"), hidden, is_newer);
        list.add_linear(&format!("{block}.attn.qkv"), times(Some(3), hidden), hidden, true);
        list.add_linear(&format!("{block}.attn.proj"), hidden, hidden, true);
        let layers: &[(&str, Size, Size)] = match family {
            VisionFamily::Qwen25Vl => {
                &[("gate_proj", inner, hidden), ("up_proj", inner, hidden), ("down_proj", hidden, inner)]
            }
            VisionFamily::Qwen3Vl => &[("linear_fc1", inner, hidden), ("linear_fc2", hidden, inner)],
        };
        for (name, rows, columns) in layers {
            list.add_linear(&format!("{block}.mlp.{name}"), *rows, *columns, true);
        }
    }
    let side = config.number_or("spatial_merge_size", 2);
    let merged = times(hidden, times(side, side));
    let out = config.number("out_hidden_size");
    match family {
        VisionFamily::Qwen25Vl => {
            list.add_norm(&format!("{prefix}merger.ln_q"), hidden, false);
            list.add_linear(&format!("{prefix}merger.mlp.0"), merged, merged, true);
            list.add_linear(&format!("{prefix}merger.mlp.2"), out, merged, true);
        }
        VisionFamily::Qwen3Vl => {
            let deep = config.numbers_or("deepstack_visual_indexes", &[8, 16, 24]);
            let deep = deep.ok_or(Gap::NotStated("deepstack_visual_indexes"))?;
            let mergers = (0..deep.len()).map(|number| format!("{prefix}deepstack_merger_list.{number}"));
            // The mergers within the tower normalise what is merged, the last one what is not.
            let mergers = mergers.map(|merger| (merger, merged));
            for (merger, normalised) in mergers.chain([(format!("{prefix}merger"), hidden)]) {
                list.add_norm(&format!("{merger}.norm"), normalised, true);
                list.add_linear(&format!("{merger}.linear_fc1"), merged, merged, true);
                list.add_linear(&format!("{merger}.linear_fc2"), out, merged, true);
            }
        }
    }
    Ok(())
}
