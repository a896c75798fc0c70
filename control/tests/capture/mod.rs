//! Captures that tests make.

/// A capture of Ethernet frames, each with its second.
pub fn capture(frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]);
    for (second, frame) in frames {
        let bytes = frame.len() as u32;
        file.extend(words(&[*second, 0, bytes, bytes]));
        file.extend(frame);
    }
    file
}
