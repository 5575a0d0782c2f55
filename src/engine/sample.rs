//! What goes through a model at once: the tokens of one sequence, and the pictures in it.

/// A picture, cut into patches as a vision tower takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Frames, rows and columns of patches (`image_grid_thw`).
    pub grid: [usize; 3],
    /// `[frames × rows × columns, channels × temporal patch × patch × patch]`, row-major, normalised; patches in the order of the
    /// processor, in which those that are merged into one token stand together.
    pub patches: Vec<f32>,
}

impl Picture {
    /// The number of patches.
    pub fn patch_count(&self) -> usize {
        self.grid.iter().product()
    }
}

/// One sample: a sequence of tokens, in which image tokens stand for the merged patches of its pictures, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The tokens, without padding.
    pub tokens: Vec<u32>,
    /// The pictures, in the order of their tokens.
    pub pictures: Vec<Picture>,
}
