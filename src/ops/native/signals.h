// Keeps signals away from a piece of code. oneDNN 2.6's AVX-512 products keep live data below the stack pointer, where a
// signal's frame overwrites it: a Ctrl-C in mid-product crashed the process. Threads that are made meanwhile inherit
// the mask, so OpenMP's workers, made in the parallel regions that hold this guard, never take a signal.
#pragma once
#include <pthread.h>
#include <csignal>

class SignalGuard {
 public:
  SignalGuard() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalGuard() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  sigset_t before_;
};
