//! The size that a picture gets before it is cut into patches (`smart_resize` of Qwen2-VL in Transformers).

/// A picture that is longer than so many times its other side is refused, as Transformers refuses it.
pub(super) const MOST_ASPECT: f64 = 200.0;

/// Height and width for a picture of this height and width: multiples of `factor`, with an area within `area` as far as that goes and
/// the shape almost kept; nothing for a picture that is too narrow.
pub(super) fn fitting_size([height, width]: [usize; 2], factor: usize, area: [u64; 2]) -> Option<[usize; 2]> {
    let [least, most] = area.map(|pixels| pixels as f64);
    let (h, w, step) = (height as f64, width as f64, factor as f64);
    if height == 0 || width == 0 || h.max(w) / h.min(w) > MOST_ASPECT {
        return None;
    }
    let nearest = [h, w].map(|side| (side / step).round_ties_even() * step);
    let pixels = nearest[0] * nearest[1];
    let sides = if pixels > most {
        let shrink = (h * w / most).sqrt();
        [h, w].map(|side| step.max((side / shrink / step).floor() * step))
    } else if pixels < least {
        let grow = (least / (h * w)).sqrt();
        [h, w].map(|side| (side * grow / step).ceil() * step)
    } else {
        nearest
    };
    Some(sides.map(|side| side as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_transformers() {
        // smart_resize(height, width, 28, 3136, 50176) of Transformers 5.24.
        let cases = [
            ([224, 224], [224, 224]),
            ([480, 640], [168, 252]),
            ([10, 10], [56, 56]),
            ([1000, 30], [1008, 28]),
            ([42, 70], [56, 56]),
            ([14, 2000], [28, 672]),
        ];
        for (from, to) in cases {
            assert_eq!(fitting_size(from, 28, [3136, 50176]), Some(to), "{from:?}");
        }
        assert_eq!(fitting_size([10, 2001], 28, [3136, 50176]), None);
    }
}
