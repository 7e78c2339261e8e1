// Splits a range of work over the engine's threads. Boundaries depend on the range and the thread count alone, so a
// reduction that combines its parts in order gives the same bits on every run.
#pragma once
#include <algorithm>
#include <cstdint>
#include "context.h"
#include "signals.h"
#if defined(_OPENMP)
#include <omp.h>
#elif defined(__APPLE__)
#include <dispatch/dispatch.h>
#endif

inline int partsFor(const Context* context, int64_t count, int64_t grain) {
  const int64_t wanted = grain > 0 ? (count + grain - 1) / grain : 1;
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(context->threads, wanted)));
}

// body(begin, end, part): called once per part, parts in parallel; no part holds fewer than about `grain` items.
template <class Body>
inline void parallelFor(const Context* context, int64_t count, int64_t grain, const Body& body) {
  const int parts = partsFor(context, count, grain);
  const auto run = [&](int part) {
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    if (begin < end) body(begin, end, part);
  };
  if (parts == 1) return run(0);
  const SignalGuard guard;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int part = 0; part < parts; ++part) run(part);
#elif defined(__APPLE__)
  dispatch_apply(static_cast<size_t>(parts), DISPATCH_APPLY_AUTO, ^(size_t part) { run(static_cast<int>(part)); });
#else
  for (int part = 0; part < parts; ++part) run(part);
#endif
}

// body(task): tasks of unequal size, taken by whichever thread is free; order of execution is not fixed.
template <class Body>
inline void parallelTasks(const Context* context, int64_t tasks, const Body& body) {
  const int threads = partsFor(context, tasks, 1);
  if (threads == 1) {
    for (int64_t task = 0; task < tasks; ++task) body(task);
    return;
  }
  const SignalGuard guard;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks; ++task) body(task);
#elif defined(__APPLE__)
  dispatch_apply(static_cast<size_t>(tasks), DISPATCH_APPLY_AUTO, ^(size_t task) { body(static_cast<int64_t>(task)); });
#else
  for (int64_t task = 0; task < tasks; ++task) body(task);
#endif
}
