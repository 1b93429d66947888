package main

// hostConfigView is what the container asks of its host. The names that JSON has come first in Docker's documentation, those of the
// fields in its program.
type hostConfigView struct {
	Binds                []string
	LogConfig            logConfigView
	NetworkMode          string
	PortBindings         map[string][]portView
	RestartPolicy        restartPolicyView
	AutoRemove           bool
	VolumesFrom          []string
	Annotations          map[string]string
	CapAdd               []string
	CapDrop              []string
	CgroupnsMode         string
	DNS                  []string `json:"Dns"`
	DNSOptions           []string `json:"DnsOptions"`
	DNSSearch            []string `json:"DnsSearch"`
	ExtraHosts           []string
	GroupAdd             []string
	IpcMode              string
	Cgroup               string
	Links                []string
	OomScoreAdj          int32
	PidMode              string
	Privileged           bool
	PublishAllPorts      bool
	ReadonlyRootfs       bool
	SecurityOpt          []string
	Tmpfs                map[string]string
	UTSMode              string
	UsernsMode           string
	ShmSize              int64
	Sysctls              map[string]string
	Runtime              string
	CPUShares            int64 `json:"CpuShares"`
	Memory               int64
	NanoCPUs             int64 `json:"NanoCpus"`
	CgroupParent         string
	CgroupConf           map[string]string
	BlkioWeight          uint32
	BlkioWeightDevice    []weightView
	BlkioDeviceReadBps   []rateView
	BlkioDeviceWriteBps  []rateView
	BlkioDeviceReadIOps  []rateView
	BlkioDeviceWriteIOps []rateView
	CPUPeriod            int64 `json:"CpuPeriod"`
	CPUQuota             int64 `json:"CpuQuota"`
	CPURealtimePeriod    int64 `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime   int64 `json:"CpuRealtimeRuntime"`
	CpusetCpus           string
	CpusetMems           string
	Devices              []deviceView
	DeviceCgroupRules    []string
	DeviceRequests       []deviceRequestView
	MemoryReservation    int64
	MemorySwap           int64
	MemorySwappiness     *int64
	OomKillDisable       bool
	PidsLimit            int64
	Ulimits              []ulimitView
	Mounts               []askedMountView `json:",omitempty"`
	Init                 bool
}

type logConfigView struct {
	Type   string
	Config map[string]string
}

type restartPolicyView struct {
	Name              string
	MaximumRetryCount int32
}

type weightView struct {
	Path   string
	Weight uint64
}

type rateView struct {
	Path string
	Rate uint64
}

type deviceView struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

// deviceRequestView asks for devices that a driver finds, of which cdi is the only one.
type deviceRequestView struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string
}

type ulimitView struct {
	Name string
	Hard int64
	Soft int64
}

// askedMountView is a mount that no bind can say.
type askedMountView struct {
	Type          string
	Source        string `json:",omitempty"`
	Target        string
	ReadOnly      bool               `json:",omitempty"`
	BindOptions   *bindOptionsView   `json:",omitempty"`
	VolumeOptions *volumeOptionsView `json:",omitempty"`
	TmpfsOptions  *tmpfsOptionsView  `json:",omitempty"`
}

type bindOptionsView struct {
	Propagation      string `json:",omitempty"`
	NonRecursive     bool   `json:",omitempty"`
	CreateMountpoint bool   `json:",omitempty"`
}

type volumeOptionsView struct {
	NoCopy       bool              `json:",omitempty"`
	Labels       map[string]string `json:",omitempty"`
	Subpath      string            `json:",omitempty"`
	DriverConfig *volumeDriverView `json:",omitempty"`
}

type volumeDriverView struct {
	Name    string            `json:",omitempty"`
	Options map[string]string `json:",omitempty"`
}

type tmpfsOptionsView struct {
	SizeBytes int64  `json:",omitempty"`
	Mode      uint32 `json:",omitempty"`
}
