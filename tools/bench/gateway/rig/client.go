package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// target is a gateway and what is asked of it. "%ID%" in the body becomes the number of the request.
type target struct {
	Address string            `json:"address"`
	Path    string            `json:"path"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

var lastId atomic.Uint64

func (t target) request(id uint64) []byte {
	body := strings.Replace(t.Body, "%ID%", fmt.Sprintf("%08d", id), 1)
	var text strings.Builder
	fmt.Fprintf(&text, "POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n", t.Path, t.Address, len(body))
	for name, value := range t.Headers {
		fmt.Fprintf(&text, "%s: %s\r\n", name, value)
	}
	text.WriteString("\r\n" + body)
	return []byte(text.String())
}

// client is one keep-alive connection. It reads little of what comes, so that the load costs little.
type client struct {
	target target
	conn   net.Conn
	reader *bufio.Reader
	buffer []byte
}

func (c *client) connect() error {
	conn, err := net.Dial("tcp", c.target.Address)
	if err != nil {
		return err
	}
	c.conn, c.reader = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

type answer struct {
	first, total time.Duration
	bytes        int
}

var contentMark = []byte(`"content":"`)

// hasContent says whether an event with a text that is not empty is in these bytes.
func hasContent(data []byte) bool {
	for {
		at := bytes.Index(data, contentMark)
		if at < 0 || at+len(contentMark) >= len(data) {
			return false
		}
		data = data[at+len(contentMark):]
		if data[0] != '"' {
			return true
		}
	}
}

// open sends a request. Its answer's head has not been read yet.
func (c *client) open(id uint64) error {
	if c.conn == nil {
		if err := c.connect(); err != nil {
			return err
		}
	}
	_, err := c.conn.Write(c.target.request(id))
	return err
}

func (c *client) head() (*http.Response, error) {
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return nil, fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return response, nil
}

// do sends one request and reads its whole answer.
func (c *client) do(id uint64) (answer, error) {
	began := time.Now()
	if err := c.open(id); err != nil {
		return answer{}, err
	}
	response, err := c.head()
	if err != nil {
		return answer{}, err
	}
	result := answer{}
	window := c.buffer[:0]
	for {
		n, err := response.Body.Read(c.buffer[len(window):cap(c.buffer)])
		result.bytes += n
		if result.first == 0 {
			window = c.buffer[:len(window)+n]
			if hasContent(window) {
				result.first = time.Since(began)
			}
			if result.first != 0 || len(window) > cap(c.buffer)/2 {
				window = c.buffer[:0]
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return answer{}, err
		}
	}
	result.total = time.Since(began)
	if result.first == 0 {
		return result, fmt.Errorf("an answer of %d bytes has no content", result.bytes)
	}
	return result, nil
}
