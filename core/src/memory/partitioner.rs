//! The partitioner of Kafka's Java client, so that a key lands on the partition where every other client puts it.

/// The partition of a key: the positive part of murmur2, modulo the number of partitions.
pub(super) fn partition_of(key: &[u8], partitions: u32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions) as i32
}

/// 32-bit MurmurHash2 with the seed of Kafka's Java client.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn keys_land_where_the_java_client_puts_them() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/vectors/partitions.json")).unwrap();
        let counts: Vec<u32> =
            vectors["partitionCounts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect();
        let cases = vectors["vectors"].as_array().unwrap();
        assert_eq!((counts.len(), cases.len()), (10, 400));
        for case in cases {
            let key = case["key"].as_str().unwrap();
            let expected: Vec<i64> =
                case["partitions"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
            let actual: Vec<i64> = counts.iter().map(|&count| i64::from(partition_of(key.as_bytes(), count))).collect();
            assert_eq!(actual, expected, "key {key:?}");
        }
    }

    #[test]
    fn any_bytes_are_a_key() {
        for key in [&b""[..], &[0], &[255, 255, 255], &[128; 5]] {
            assert!((0..7).contains(&partition_of(key, 7)), "{key:?}");
        }
    }
}
