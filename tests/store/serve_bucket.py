"""Serves a folder as an S3 bucket that checks signatures, until its standard input ends. Prints how to reach it as JSON.

    python serve_bucket.py FOLDER EXTRA_OBJECTS
"""
import json
import pathlib
import sys

import boto3
import requests
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

folder, extra = pathlib.Path(sys.argv[1]), int(sys.argv[2])
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
_, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
given = dict(endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
s3 = boto3.client("s3", **given)
s3.create_bucket(Bucket="fifo")
for path in folder.rglob("*"):
    if path.is_file():
        s3.put_object(Bucket="fifo", Key="leo/" + str(path.relative_to(folder)), Body=path.read_bytes())
backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
for number in range(extra):
    backend.put_object("fifo", f"leo/extra/{number:06}", b"x")
iam = boto3.client("iam", **given)
iam.create_user(UserName="reader")
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}]}
iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
key = iam.create_access_key(UserName="reader")["AccessKey"]
requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10)
print(json.dumps({"endpoint": url, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
server.stop()
