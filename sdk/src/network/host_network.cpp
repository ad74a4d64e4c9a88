// SPDX-License-Identifier: Apache-2.0
#include <kubernel/network/host_network.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <string_view>

#include <kubernel/base/child_process.h>

namespace kubernel::network {

namespace {

// Linux: PROC_PID_INIT_INO, the inode of the first pid namespace.
constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;

// A device with hardware, or a hypervisor's, below it says on which bus that is; a virtual one does not.
bool has_hardware() {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> devices(if_nameindex(), if_freenameindex);
  for (const struct if_nameindex* device = devices.get(); device != nullptr && device->if_index != 0; ++device) {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq request{};
    std::strncpy(request.ifr_name, device->if_name, sizeof request.ifr_name - 1);
    request.ifr_data = reinterpret_cast<char*>(&info);
    if (ioctl(control.get(), SIOCETHTOOL, &request) != 0) continue;
    const std::string_view bus(info.bus_info, strnlen(info.bus_info, sizeof info.bus_info));
    if (!bus.empty() && bus != "N/A" && bus != "tap" && bus != "tun") return true;
  }
  return false;
}

}  // namespace

bool in_host_network() {
  struct stat ours {};
  struct stat first {};
  struct stat pids {};
  if (stat("/proc/self/ns/net", &ours) != 0 || stat("/proc/self/ns/pid", &pids) != 0) return true;
  if (has_hardware()) return true;
  // In a pid namespace of its own, process 1 is a sandbox's, and says nothing about the machine.
  if (pids.st_ino != kInitialPidNamespace) return false;
  // Process 1 may be out of reach (it can have rights that we lack); without hardware there is then nothing of the
  // machine's to protect.
  return stat("/proc/1/ns/net", &first) == 0 && ours.st_ino == first.st_ino && ours.st_dev == first.st_dev;
}

}  // namespace kubernel::network
