export async function gemmBenchmark(_args: readonly string[]): Promise<void> {}
