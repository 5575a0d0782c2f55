// Loads, stores and waiting, with what the caches should make of them.
#pragma once

#include "structures.cuh"

// For the L2 cache: whether what is accessed may go first.
__device__ __forceinline__ u64 policy(bool first) {
    u64 policy;
    if (first) asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    else asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

__device__ __forceinline__ uint4 load16(const u8* from, u64 policy) {
    uint4 v;
    asm volatile("ld.global.nc.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from), "l"(policy));
    return v;
}

__device__ __forceinline__ void store8(u8* to, uint2 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.v2.u32 [%0], {%1, %2}, %3;" :: "l"(to), "r"(v.x), "r"(v.y), "l"(policy) : "memory");
}

__device__ __forceinline__ void store4(u8* to, u32 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.u32 [%0], %1, %2;" :: "l"(to), "r"(v), "l"(policy) : "memory");
}

// Copies 16 bytes to shared memory while the thread goes on.
__device__ __forceinline__ void copy16_later(uint4* to, const uint4* from) {
    const u32 address = (u32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(address), "l"(from) : "memory");
}

__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

__device__ __forceinline__ u32 load_acquire(const u32* from) {
    u32 v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
    return v;
}

__device__ __forceinline__ u64 nanoseconds() {
    u64 now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

__device__ __forceinline__ void add_release(u32* to, u32 v) {
    asm volatile("red.release.gpu.global.add.u32 [%0], %1;" :: "l"(to), "r"(v) : "memory");
}
