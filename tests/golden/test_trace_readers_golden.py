"""A made file of each public format, and the trace it must become, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.readers.convert import convert

HEAD = "timestamp_s,model_class,source,input_tokens,output_tokens,images,extra_json,model,access_node"
CASES = {
    "azure2023": (
        "AzureLLMInferenceTrace_conv.csv",
        """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.5000000,11,22
2023-11-17 00:00:00.2500001,33,44
2023-11-16 23:59:59.7500000,55,
""",
        """0.0,text-large,azure-llm-2023-conv,11,22,0,{},,
0.25,text-large,azure-llm-2023-conv,55,,0,{},,
0.7500001,text-large,azure-llm-2023-conv,33,44,0,{},,
""",
    ),
    "azure2024": (
        "AzureLLMInferenceTrace_code_1week.csv",
        """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00+00:00,1001,6
2024-05-10 02:00:00.5+02:00,1002,7
2024-05-16 23:59:59.929501+00:00,1003,8
""",
        """0.0,text-small,azure-llm-2024-code,1001,6,0,{},,
0.5,text-small,azure-llm-2024-code,1002,7,0,{},,
604799.929501,text-small,azure-llm-2024-code,1003,8,0,{},,
""",
    ),
    "burstgpt": (
        "BurstGPT_3.csv",
        """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
1000.0,s-1,2,GPT-4,10,20,30,Conversation log
1004.0,,1.5,ChatGPT,40,0,40,API log
""",
        """0.0,text-large,burstgpt,10,20,0,"{""log"":""conversation"",""client"":""s-1"",""elapsed_s"":2.0}",,
4.0,text-small,burstgpt,40,,0,"{""log"":""api"",""elapsed_s"":1.5,""failed"":true}",,
""",
    ),
    "mooncake": (
        "synthetic_trace.jsonl",
        """{"timestamp": 0, "input_length": 900, "output_length": 3, "hash_ids": [4, 9]}
{"timestamp": 1501, "input_length": 8, "output_length": 2, "hash_ids": []}
""",
        """0.0,text-large,mooncake-fast25-synthetic,900,3,0,"{""prefix_blocks512"":2,""first_block"":9}",,
1.501,text-large,mooncake-fast25-synthetic,8,2,0,"{""prefix_blocks512"":0}",,
""",
    ),
    "alibaba-genai": (
        "lora_request_trace.csv",
        """gmt_create,predict_type,predict_status,exec_time_seconds,groupId,prompt_length,negative_prompt_length,\
num_images_per_prompt,num_inference_steps,checkpoint_model_version_id,num_lora
2024-11-30 23:59:58,TXT_2_IMG,SUCCEED,9.0,G7,12.0,,4.0,30.0,M3,2
2024-12-01 00:00:01,TXT_2_IMG,PENDING,0.0,G7,,,,,,0
2024-12-01 00:00:03,INPAINTING,FAILED,3.0,G8,5.0,1.0,1.0,20.0,M4,0
""",
        """0.0,image-generation,alibaba-gentd26-lora,,,4,"{""exec_s"":9.0,""steps"":30,""type"":""TXT_2_IMG"",\
""status"":""SUCCEED"",""ckpt"":""M3"",""loras"":2,""group"":""G7"",""prompt_chars"":12}",,
5.0,image-generation,alibaba-gentd26-lora,,,1,"{""exec_s"":3.0,""steps"":20,""type"":""INPAINTING"",\
""status"":""FAILED"",""ckpt"":""M4"",""loras"":0,""group"":""G8"",""prompt_chars"":5}",,
""",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_a_made_file_becomes_this_trace(tmp_path: Path, name: str) -> None:
    file, original, expected = CASES[name]
    path, out = tmp_path / file, tmp_path / "trace.csv"
    path.write_text(original, encoding="utf-8")
    made = convert(path, out)
    assert made.survey.format.name == name
    assert out.read_text(encoding="utf-8") == f"{HEAD}\n{expected}"
