package main

import "github.com/shoal-dev/shoal/proto/api"

// What inspect shows has Docker's fields, in Docker's order. A template finds each field, empty or not, by the name that JSON has or by
// the one that Docker's own program has (.ID and .Id, .NanoCPUs and .NanoCpus), so that scripts for either work.

type containerView struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           stateView
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int32
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      hostConfigView
	GraphDriver     driverView
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []mountView
	Config          configView
	NetworkSettings networkSettingsView
	TaskID          string
}

type stateView struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int32
	ExitCode   int32
	Error      string
	StartedAt  string
	FinishedAt string
	Health     *healthView `json:",omitempty"`
}

type healthView struct {
	Status        string
	FailingStreak int32
	Log           []healthResultView
}

type healthResultView struct {
	Start    string
	End      string
	ExitCode int32
	Output   string
}

type driverView struct {
	Data map[string]string
	Name string
}

type mountView struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// configView is what the container is made of, whichever host it is on.
type configView struct {
	Hostname     string
	Domainname   string
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	Env          []string
	Cmd          []string
	Healthcheck  *healthcheckView `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int   `json:",omitempty"`
}

// healthcheckView has times in nanoseconds.
type healthcheckView struct {
	Test          []string `json:",omitempty"`
	Interval      int64    `json:",omitempty"`
	Timeout       int64    `json:",omitempty"`
	StartPeriod   int64    `json:",omitempty"`
	StartInterval int64    `json:",omitempty"`
	Retries       int      `json:",omitempty"`
}

// addressView are the addresses on one network; NetworkSettings repeats those of the first.
type addressView struct {
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string
}

type networkSettingsView struct {
	Bridge                 string
	SandboxKey             string
	Ports                  map[string][]portView
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []string
	SecondaryIPv6Addresses []string
	addressView
	Networks map[string]*endpointView
}

type endpointView struct {
	IPAMConfig *fixedView
	Links      []string
	Aliases    []string
	DriverOpts map[string]string
	NetworkID  string
	addressView
	DNSNames []string
}

// fixedView are addresses that were asked for.
type fixedView struct {
	IPv4Address  string   `json:",omitempty"`
	IPv6Address  string   `json:",omitempty"`
	LinkLocalIPs []string `json:",omitempty"`
}

type portView struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// imageObjectView is an image; Docker's says besides how Docker keeps it.
type imageObjectView struct {
	ID             string `json:"Id"`
	RepoTags       []string
	RepoDigests    []string
	Comment        string
	Created        string
	Author         string
	Config         imageRunView
	Architecture   string
	Os             string
	Size           int64
	RootFS         layersView
	ManifestDigest string
}

type layersView struct {
	Type   string
	Layers []string
}

// imageRunView is what an image says about running it.
type imageRunView struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	ArgsEscaped  bool                `json:",omitempty"`
	Healthcheck  *healthcheckView    `json:",omitempty"`
	OnBuild      []string            `json:",omitempty"`
	Shell        []string            `json:",omitempty"`
}

type volumeView struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// networkView is a network of the node or of the cluster.
type networkView struct {
	Name            string
	ID              string `json:"Id"`
	Created         string
	Scope           string
	Driver          string
	EnableIPv4      bool
	EnableIPv6      bool
	IPAM            ipamView
	Internal        bool
	Attachable      bool
	Ingress         bool
	ConfigFrom      struct{ Network string }
	ConfigOnly      bool
	Containers      map[string]networkContainerView
	Options         map[string]string
	Labels          map[string]string
	Bridge          string       `json:",omitempty"`
	VNI             uint32       `json:",omitempty"`
	Version         *versionView `json:",omitempty"`
	AllocationError string       `json:",omitempty"`
}

type versionView struct{ Index uint64 }

type ipamView struct {
	Driver  string
	Options map[string]string
	Config  []subnetView
}

type subnetView struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

type networkContainerView struct {
	Name        string
	MacAddress  string
	IPv4Address string
	IPv6Address string
}

// healthcheckOf leaves out what is the default, as Docker's.
func healthcheckOf(h *api.HealthConfig) *healthcheckView {
	if h == nil {
		return nil
	}
	return &healthcheckView{
		Test: h.Test, Interval: int64(h.Interval.AsDuration()), Timeout: int64(h.Timeout.AsDuration()), StartPeriod: int64(h.StartPeriod.AsDuration()),
		StartInterval: int64(h.StartInterval.AsDuration()), Retries: int(h.Retries),
	}
}
