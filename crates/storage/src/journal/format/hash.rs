//! The content hash by which a redelivered message is recognised: XXH64, the same in every version of Hearthgate.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// Hash of a message's topic and payload: XXH64 of the payload, seeded with XXH64 of the topic. Stable across versions
/// and machines. It tells redeliveries apart from new messages of the same session and packet identifier; it is no
/// protection against a sender that forges its own.
#[must_use]
pub fn content_hash(topic: &str, payload: &[u8]) -> u64 {
    xxh64(payload, xxh64(topic.as_bytes(), 0))
}

/// Hash of a topic alone, as stable.
#[must_use]
pub fn topic_hash(topic: &str) -> u64 {
    xxh64(topic.as_bytes(), 0)
}

/// XXH64 as its specification describes it (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
fn xxh64(input: &[u8], seed: u64) -> u64 {
    let stripes = input.chunks_exact(32);
    let rest = stripes.remainder();
    let mut hash = if input.len() >= 32 { merge_stripes(stripes, seed) } else { seed.wrapping_add(P5) };
    hash = hash.wrapping_add(input.len() as u64);
    avalanche(finish(hash, rest))
}

fn merge_stripes(stripes: std::slice::ChunksExact<'_, u8>, seed: u64) -> u64 {
    let mut lanes = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
            *lane = round(*lane, word64(word));
        }
    }
    let [a, b, c, d] = lanes;
    let hash =
        a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
    lanes.iter().fold(hash, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
}

fn finish(mut hash: u64, rest: &[u8]) -> u64 {
    let words = rest.chunks_exact(8);
    let mut tail = words.remainder();
    for word in words {
        hash = (hash ^ round(0, word64(word))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    if let Some((word, after)) = tail.split_first_chunk::<4>() {
        let word = u64::from(u32::from_le_bytes(*word));
        hash = (hash ^ word.wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        tail = after;
    }
    for byte in tail {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

fn word64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh64_as_published() {
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"The quick brown fox jumps over the lazy dog", 0), 0x0B24_2D36_1FDA_71BC);
    }

    #[test]
    fn moving_a_byte_from_topic_to_payload_changes_the_hash() {
        assert_ne!(content_hash("ab", b"c"), content_hash("a", b"bc"));
        assert_ne!(content_hash("a", b""), content_hash("", b"a"));
    }
}
