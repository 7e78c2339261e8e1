// A host that loses its network says nothing: TCP would wait for it a quarter of an hour, and for ever where nothing is left to
// send, and MPI with it. The connections are MPI's, made when they are first needed; so a rank that waits long looks through
// its sockets, has the system ask for signs of life, and counts the questions that went unanswered.
#pragma once
#include <string>

constexpr int secondsBetweenSigns = 5, secondsOfSilence = 20;

#ifdef __linux__
#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdlib>


// The address of a host that has not answered for too long; empty when all do.
inline std::string silentHost() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return "";
  std::string silent;
  while (const dirent* entry = readdir(folder)) {
    const int descriptor = std::atoi(entry->d_name);
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (entry->d_name[0] == '.' || getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    tcp_info info{};
    socklen_t infoSize = sizeof info;
    if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) continue;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &infoSize) != 0) continue;
    // Never given up by the system itself: it would tell MPI, which keeps it to itself.
    const int on = 1, idle = secondsBetweenSigns, unanswered = 120;
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &unanswered, sizeof unanswered);
    const bool asked = info.tcpi_probes >= 2 || info.tcpi_retransmits >= 2;
    if (!asked || info.tcpi_last_ack_recv < secondsOfSilence * 1000u) continue;
    char name[NI_MAXHOST] = "?";
    getnameinfo(reinterpret_cast<sockaddr*>(&peer), size, name, sizeof name, nullptr, 0, NI_NUMERICHOST);
    silent = name;
  }
  closedir(folder);
  return silent;
}
#else
inline std::string silentHost() { return ""; }
#endif
