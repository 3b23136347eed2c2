// Renders tests/golden/go_tools with Go's own text/template, as Ollama does where there are tools, and writes rendered.json
// beside the templates:
//
//	cd tests/golden && go run go_tools.go
//
// It was run with Go 1.19; the standard library is all that it takes. Tools hold nothing that Ollama drops.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

const folder = "go_tools"

func text(value any) string {
	written, _ := json.Marshal(value)
	return string(written)
}

// One type's name, or several.
type kinds []string

func (k *kinds) UnmarshalJSON(written []byte) error {
	var one string
	if json.Unmarshal(written, &one) == nil {
		*k = kinds{one}
		return nil
	}
	return json.Unmarshal(written, (*[]string)(k))
}

func (k kinds) MarshalJSON() ([]byte, error) {
	if len(k) == 1 {
		return json.Marshal(k[0])
	}
	return json.Marshal([]string(k))
}

func (k kinds) String() string {
	if len(k) < 2 {
		return strings.Join(k, "")
	}
	return fmt.Sprintf("%v", []string(k))
}

type property struct {
	AnyOf       []property `json:"anyOf,omitempty"`
	Type        kinds      `json:"type,omitempty"`
	Items       any        `json:"items,omitempty"`
	Description string     `json:"description,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
}

func (p property) typescript() string {
	var names []string
	for _, part := range p.AnyOf {
		names = append(names, part.typescript())
	}
	for _, kind := range p.Type {
		name, known := map[string]string{
			"string": "string", "number": "number", "integer": "number", "boolean": "boolean",
			"array": "any[]", "object": "Record<string, any>", "null": "null",
		}[kind]
		if !known {
			name = "any"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, " | ")
}

type schema struct {
	Type       string              `json:"type"`
	Required   []string            `json:"required,omitempty"`
	Properties map[string]property `json:"properties"`
}

type function struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  schema `json:"parameters"`
}

func (f function) String() string { return text(f) }

type tool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

func (t tool) String() string { return text(t) }

type tools []tool

func (t tools) String() string { return text(t) }

type arguments map[string]any

func (a arguments) String() string { return text(a) }

// Read from the wire's names, written with Go's.
type call struct {
	ID       string
	Function struct {
		Index     int
		Name      string
		Arguments arguments
	}
}

type message struct {
	Role, Content, Thinking string
	ToolName                string `json:"tool_name"`
	ToolCallID              string `json:"tool_call_id"`
	ToolCalls               []call `json:"tool_calls"`
	Images                  []any
}

var functions = template.FuncMap{
	"json":             text,
	"toTypeScriptType": func(p property) string { return p.typescript() },
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var conversations map[string]struct {
		Tools    tools
		Messages []*message
	}
	written, err := os.ReadFile(filepath.Join(folder, "conversations.json"))
	check(err)
	check(json.Unmarshal(written, &conversations))
	paths, err := filepath.Glob(filepath.Join(folder, "*.gotmpl"))
	check(err)
	rendered := map[string]map[string]string{}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		check(err)
		if !strings.Contains(string(source), ".Messages") {
			continue
		}
		of := map[string]string{}
		parsed := template.Must(template.New("").Option("missingkey=zero").Funcs(functions).Parse(string(source)))
		for name, conversation := range conversations {
			var system []string
			for _, m := range conversation.Messages {
				if m.Role == "system" {
					system = append(system, m.Content)
				}
				for number := range m.ToolCalls {
					m.ToolCalls[number].Function.Index = number
				}
			}
			for how, isSet := range map[string]bool{"": false, ", think": true, ", no think": true} {
				var out bytes.Buffer
				check(parsed.Execute(&out, map[string]any{
					"System": strings.Join(system, "\n\n"), "Messages": conversation.Messages, "Tools": conversation.Tools,
					"Response": "", "Think": how == ", think", "IsThinkSet": isSet, "ThinkLevel": "",
				}))
				of[name+how] = out.String()
			}
		}
		rendered[strings.TrimSuffix(filepath.Base(path), ".gotmpl")] = of
	}
	out, err := json.MarshalIndent(rendered, "", " ")
	check(err)
	check(os.WriteFile(filepath.Join(folder, "rendered.json"), append(out, '\n'), 0o644))
}
