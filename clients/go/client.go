package artifacts

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

const (
	// A lost connection is taken up again until so long passes without progress.
	defaultTimeout = 30 * time.Second
	// Bytes on their way in one stream, and in one connection: what keeps a fast network busy.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 8 << 20
	// Bytes read from and written to a socket at once. The default, 32 KiB, costs a system call for every two frames.
	socketBufferBytes = 256 << 10
	// Largest message that is taken: a page of a listing is the largest that a server sends.
	maxMessageBytes = 32 << 20
	// How long one try to connect may take.
	connectTimeout = 5 * time.Second
	// A silent connection is asked after so long whether it is alive (grpc-go allows no less), and is lost when it doesn't answer.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 10 * time.Second
)

// Client is a connection to one server. Make it with [NewClient] and end it with [Client.Close]. It connects when it is first used.
type Client struct {
	url     string
	project string
	run     string
	timeout time.Duration
	logger  *slog.Logger
	conn    *grpc.ClientConn
	service artifactsv1.ArtifactsServiceClient
	// Whether the server ever answered.
	reached atomic.Bool
}

// ClientOption is a setting of [NewClient].
type ClientOption func(*clientConfig)

type clientConfig struct {
	url     string
	token   string
	project string
	run     string
	timeout time.Duration
	tls     *tls.Config
	logger  *slog.Logger
	dial    []grpc.DialOption
}

// WithURL says where the server is: unix:///path, http://host:port or https://host:port. Default: DSTACK_ARTIFACTS_URL, else
// the socket that `dstack-artifacts serve` listens on.
func WithURL(url string) ClientOption { return func(c *clientConfig) { c.url = url } }

// WithToken gives the bearer token that is sent with every call. Default: DSTACK_ARTIFACTS_TOKEN, else none.
func WithToken(token string) ClientOption { return func(c *clientConfig) { c.token = token } }

// WithProject names the project that runs and tags are looked up in. Default: DSTACK_PROJECT, else the server's.
func WithProject(project string) ClientOption { return func(c *clientConfig) { c.project = project } }

// WithCurrentRun names the run that uploads go to which name none. Default: DSTACK_RUN_NAME, then RUN_NAME, else the server's.
func WithCurrentRun(run string) ClientOption { return func(c *clientConfig) { c.run = run } }

// WithTimeout says how long a transfer may stand still before it fails: a lost connection is taken up again until then. Default: 30 s.
func WithTimeout(timeout time.Duration) ClientOption {
	return func(c *clientConfig) { c.timeout = timeout }
}

// WithTLSConfig says how an https server is trusted, and who the client is to it. Default: the system's certificate authorities.
func WithTLSConfig(config *tls.Config) ClientOption { return func(c *clientConfig) { c.tls = config } }

// WithLogger says where warnings go, such as of a socket that an upload leaves out. Default: slog.Default().
func WithLogger(logger *slog.Logger) ClientOption {
	return func(c *clientConfig) { c.logger = logger }
}

// WithDialOptions adds options of grpc-go, such as interceptors.
func WithDialOptions(options ...grpc.DialOption) ClientOption {
	return func(c *clientConfig) { c.dial = append(c.dial, options...) }
}

// NewClient makes a client. What no option says comes from the environment. It does not connect yet; errors are those of an address
// or a project's name that can't be.
func NewClient(options ...ClientOption) (*Client, error) {
	config := environmentConfig()
	for _, option := range options {
		option(&config)
	}
	if config.project != "" {
		if problem := nameProblem(config.project); problem != "" {
			return nil, invalidName("project", config.project, problem)
		}
	}
	where, err := parseAddress(config.url)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if where.secure {
		transport = credentials.NewTLS(config.tls)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithReadBufferSize(socketBufferBytes),
		grpc.WithWriteBufferSize(socketBufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstBackoff, Multiplier: 2, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("dstack-artifacts-go"),
	}
	if config.token != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer(config.token)))
	}
	conn, err := grpc.NewClient(where.target, append(dial, config.dial...)...)
	if err != nil {
		return nil, failf("no client for %s: %w", config.url, err)
	}
	return &Client{
		url: config.url, project: config.project, run: config.run, timeout: config.timeout, logger: config.logger,
		conn: conn, service: artifactsv1.NewArtifactsServiceClient(conn),
	}, nil
}

// Close ends the connection; calls that run fail. A second call gives an error.
func (c *Client) Close() error { return c.conn.Close() }

// Conn gives the connection, for the raw generated stubs.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

func (c *Client) log() *slog.Logger {
	if c.logger != nil {
		return c.logger
	}
	return slog.Default()
}

func environmentConfig() clientConfig {
	config := clientConfig{
		url:     os.Getenv("DSTACK_ARTIFACTS_URL"),
		token:   os.Getenv("DSTACK_ARTIFACTS_TOKEN"),
		project: os.Getenv("DSTACK_PROJECT"),
		run:     environmentRun(),
		timeout: defaultTimeout,
	}
	if config.url == "" {
		config.url = defaultURL()
	}
	return config
}

// bearer sends a token with every call. It does so without TLS too: on loopback the token is what keeps other users out.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }
