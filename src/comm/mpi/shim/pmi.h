// The socket on which MPICH's launcher talks to its process. It passes the socket on by inheritance, and Node closes what its
// children would inherit: under `mpirun npx …` the number in PMI_FD means nothing any more. The ancestor that Node's launcher
// chain began with still holds the socket, and Linux lets us copy it from there.
#pragma once
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#ifdef __linux__
#include <sys/syscall.h>
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#endif

inline bool isSocket(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

// 0: PMI_FD is not set or is a socket of ours now. 1: it was lost, and no ancestor gives it to us.
inline int recoverPmiSocket() {
  const char* number = std::getenv("PMI_FD");
  if (number == nullptr) return 0;
  const int wanted = std::atoi(number);
  if (isSocket(wanted)) return 0;
#ifdef __linux__
  for (pid_t process = getppid(); process > 1;) {
    const int handle = static_cast<int>(syscall(SYS_pidfd_open, process, 0));
    if (handle >= 0) {
      const int copy = static_cast<int>(syscall(SYS_pidfd_getfd, handle, wanted, 0));
      close(handle);
      if (copy >= 0 && isSocket(copy)) {
        setenv("PMI_FD", std::to_string(copy).c_str(), 1);
        return 0;
      }
      if (copy >= 0) close(copy);
    }
    const std::string path = "/proc/" + std::to_string(process) + "/stat";
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) break;
    char line[1024];
    const size_t size = std::fread(line, 1, sizeof line - 1, file);
    std::fclose(file);
    line[size] = '\0';
    const char* afterName = std::strrchr(line, ')');  // a process's name may hold spaces and brackets
    char letter;
    int parent = 0;
    if (afterName == nullptr || std::sscanf(afterName + 1, " %c %d", &letter, &parent) != 2) break;
    process = parent;
  }
#endif
  return 1;
}
